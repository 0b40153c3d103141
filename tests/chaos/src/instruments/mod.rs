//! Tools that break what lies between and below the processes.
