//! The `tollgate` command: parse, dispatch, exit code.

fn main() {}
