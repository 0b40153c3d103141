//! `doorbuster replay`: the retained log, persisted once more.
