//! Top of the house: the command line. One file per command.

pub mod out;
pub mod prices;
mod prices_import;
mod prices_show;
