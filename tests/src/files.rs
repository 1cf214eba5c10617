//! Temporary folders that vanish with their test.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A folder of its own, removed on drop unless the test failed.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new, empty folder. Its path is short: a Unix socket's address holds 107 bytes.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("outrigger-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A process that had this id left it behind.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a temporary folder {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for inspection: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Replaces `path` the way careful editors and tools do: a new file, renamed over the old one.
pub fn replace(path: &Path, text: &str) {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// A folder laid out as Kubernetes mounts a `ConfigMap`: the file is a link through `..data`, and an
/// update swaps that one link.
#[derive(Debug)]
pub struct ConfigMap {
    dir: PathBuf,
    name: String,
    generation: u32,
}

impl ConfigMap {
    /// Mounts a map with one key.
    pub fn mount(dir: &Path, name: &str, text: &str) -> Self {
        let mut map = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            generation: 0,
        };
        map.update(text);
        std::os::unix::fs::symlink(Path::new("..data").join(name), map.path()).unwrap();
        map
    }

    /// Path of the key's file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Swaps the content as the kubelet does.
    pub fn update(&mut self, text: &str) {
        let old = format!("..gen{}", self.generation);
        self.generation += 1;
        let new = format!("..gen{}", self.generation);
        fs::create_dir(self.dir.join(&new)).unwrap();
        fs::write(self.dir.join(&new).join(&self.name), text).unwrap();
        let link = self.dir.join("..data_tmp");
        std::os::unix::fs::symlink(&new, &link).unwrap();
        fs::rename(&link, self.dir.join("..data")).unwrap();
        let _ = fs::remove_dir_all(self.dir.join(old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_map_reads_through_its_links() {
        let dir = TempDir::new();
        let mut map = ConfigMap::mount(dir.path(), "proxy.yaml", "one");
        assert_eq!(fs::read_to_string(map.path()).unwrap(), "one");
        map.update("two");
        assert_eq!(fs::read_to_string(map.path()).unwrap(), "two");
    }

    #[test]
    fn folders_vanish() {
        let dir = TempDir::new();
        let path = dir.path().to_owned();
        replace(&dir.file("a"), "x");
        drop(dir);
        assert!(!path.exists());
    }
}
