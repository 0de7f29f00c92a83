//! Floor 1, rules: the wire formats, known in order to READ them. Pure: bytes in, facts out.

pub mod path;
