//! Directories on a machine that other users share: made where nobody else can redirect them, and removed
//! completely, whatever a task has put into them.

pub mod remove;
pub mod trust;
