//! Breaks a whole Doorbuster, real processes and all, and judges from outside whether its promises held.

pub mod instruments;
