//! Floor 3: the journal that survives, the writer that settles it, the reports that read it.

pub mod section;
