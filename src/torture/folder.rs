//! A folder of the kit's own among the system's temporary files, removed when dropped.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::base::chance::Chance;
use crate::store::place::private_file;

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn make() -> io::Result<Self> {
        let name = format!("tollgate-torture-{:016x}", Chance::from_system().next_u64());
        let path = std::env::temp_dir().join(name);
        // fails if somebody made one of this name; nobody else may look into ours
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        private_file(&self.path.join(name))?.write_all(text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // nothing in it matters any more; at worst the system tidies it up
        let _ = fs::remove_dir_all(&self.path);
    }
}
