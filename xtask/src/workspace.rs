//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Command;

/// The root workspace, as cargo sees it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory; the workspaces beside this one build in folders of it.
    pub(crate) target: PathBuf,
    metadata: Value,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("xtask lies in a workspace")?.to_owned();
        // Also fetches what is missing, the dependencies of loom builds included.
        let output =
            Command::cargo(["metadata", "--format-version=1"]).directory(&root).output()?;
        let metadata: Value = serde_json::from_slice(&output).context("cargo metadata")?;
        let target = metadata["target_directory"].as_str().context("no target directory")?.into();
        Ok(Self { root, target, metadata })
    }

    /// The source of a dependency, as the registry has it.
    pub(crate) fn source_of(&self, name: &str, version: &str) -> Result<PathBuf> {
        let packages = self.metadata["packages"].as_array().context("no packages")?;
        let wanted = packages.iter().find(|p| p["name"] == name && p["version"] == version);
        let Some(package) = wanted else {
            bail!("{name} {version} is not a dependency of the workspace");
        };
        let manifest = package["manifest_path"].as_str().context("no manifest path")?;
        Ok(Path::new(manifest).parent().context("a manifest lies somewhere")?.to_owned())
    }

    /// A cargo command, run at the root.
    pub(crate) fn cargo<const N: usize>(&self, args: [&str; N]) -> Command {
        Command::cargo(args).directory(&self.root)
    }

    /// `path`, shorter where it lies in the workspace.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
