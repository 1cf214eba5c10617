//! Builds the files of `scenarios/` and `peers/` into the binary, so that a new one is one file.

use std::{
    env, fs,
    io::{Error, Result},
    path::{Path, PathBuf},
};

fn main() -> Result<()> {
    let variable = |name| env::var(name).map_err(Error::other);
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    for folder in ["scenarios", "peers"] {
        println_to_cargo(&root.join(folder));
        let mut files: Vec<_> = fs::read_dir(root.join(folder))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        files.sort();
        let rows: String = files.iter().map(|path| row(path)).collect();
        let name = folder.to_uppercase();
        let text = format!("/// Name and text.\nconst {name}: &[(&str, &str)] = &[{rows}];\n");
        fs::write(out.join(format!("{folder}.rs")), text)?;
    }
    Ok(())
}

fn row(path: &Path) -> String {
    println_to_cargo(path);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    // As literals of Rust: a path may hold anything.
    let path = path.to_string_lossy();
    format!("({name:?}, include_str!({path:?})), ")
}

#[allow(clippy::print_stdout, reason = "this is how cargo is told")]
fn println_to_cargo(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
