//! Top of the house: the command line. One file per command.

pub mod check;
pub mod out;
