//! Floor 5, wiring: the config file, read and checked whole.

pub mod settings;
