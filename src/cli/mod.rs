//! Top of the house: the command line. One file per command.

pub mod mock;
pub mod out;
