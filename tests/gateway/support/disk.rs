//! A disk of a few MiB, in memory, that can be filled up.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of this size at `place`, which is made.
    pub(crate) fn mount(place: &Path, size: &str) -> Self {
        fs::create_dir_all(place).unwrap();
        assert!(mount(place, size), "{} cannot be mounted", place.display());
        Self { place: place.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // lazily: a gateway that a failing test left behind may still hold files
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}

/// Whether disks can be mounted here; says so if not.
pub(crate) fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let may = mount(folder.path(), "64k");
    if may {
        drop(SmallDisk { place: folder.path().to_owned() });
    } else {
        eprintln!("skipped: mounting a small disk needs root");
    }
    may
}

/// Fills the disk that `place` is on, or fills it again. Yields the file that does.
pub(crate) fn fill(place: &Path) -> PathBuf {
    let path = place.join("filler");
    let mut filler = File::options().create(true).append(true).open(&path).unwrap();
    for piece in [1 << 16, 1 << 12, 1 << 8, 1] {
        while filler.write_all(&vec![0; piece]).is_ok() {}
    }
    path
}

fn mount(place: &Path, size: &str) -> bool {
    let options = format!("size={size},mode=0700");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place).output();
    mounted.is_ok_and(|output| output.status.success())
}
