//! The patched loom: a copy of the registry's source, with the fix that complete searches need.
//!
//! `models/loom-0.7.3.patch` says what is wrong with the stock one. The copy is not checked in.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const VERSION: &str = "0.7.3";

/// A copy of the patch that was applied, inside the copy of loom: written last.
const STAMP: &str = ".shmq-patch";

/// Copies loom to `models/loom` and patches it there, unless that has been done with this patch.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    let models = workspace.root.join("models");
    let patch_path = models.join(format!("loom-{VERSION}.patch"));
    let patch = fs::read_to_string(&patch_path)
        .with_context(|| format!("reading {}", patch_path.display()))?;
    let copy = models.join("loom");
    if fs::read_to_string(copy.join(STAMP)).is_ok_and(|stamp| stamp == patch) {
        return Ok(());
    }
    let source = workspace.source_of("loom", VERSION)?;
    println!("preparing models/loom: loom {VERSION} with {}", workspace.shown(&patch_path));
    // Made beside, then moved: a copy that was not finished is not taken for one that was.
    let fresh = models.join(format!("loom.{}", std::process::id()));
    copy_directory(&source, &fresh)?;
    apply(&patch, &fresh)?;
    fs::write(fresh.join(STAMP), &patch)?;
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    fs::rename(&fresh, &copy).context("moving the patched loom into place")
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            // Contents only: the registry's files may be read-only.
            fs::write(&target, fs::read(entry.path())?)
                .with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

/// Applies a unified diff of existing files, as `patch -p1` would, but without any fuzz.
fn apply(patch: &str, directory: &Path) -> Result<()> {
    for (name, part) in parts(patch)? {
        let path = directory.join(name);
        let old = fs::read_to_string(&path).with_context(|| format!("reading loom's {name}"))?;
        let diff = diffy::Patch::from_str(part).with_context(|| format!("parsing {name}"))?;
        let new = diffy::apply(&old, &diff).with_context(|| format!("patching loom's {name}"))?;
        fs::write(&path, new)?;
    }
    Ok(())
}

/// `{path, diff}` for each file of a patch.
fn parts(patch: &str) -> Result<Vec<(&str, &str)>> {
    let mut starts: Vec<_> = patch.match_indices("\n--- a/").map(|(at, _)| at + 1).collect();
    if starts.is_empty() {
        bail!("the patch names no file");
    }
    starts.push(patch.len());
    let part = |bounds: &[usize]| {
        let part = &patch[bounds[0]..bounds[1]];
        let name = part.lines().next().and_then(|line| line.strip_prefix("--- a/"));
        (name.unwrap_or_default().trim_end(), part)
    };
    Ok(starts.windows(2).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_patch_falls_into_its_files() {
        let patch = "why\n\n--- a/x/y.rs\n+++ b/x/y.rs\n@@ -1 +1 @@\n-a\n+b\n--- a/z\n+++ b/z\n";
        let names: Vec<_> = parts(patch).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["x/y.rs", "z"]);
        assert!(parts("nothing").is_err());
    }
}
