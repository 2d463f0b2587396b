//! What is left of the memory limits of our control group, and of those around it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that may still be used; everything if there is no limit, or none that can be seen.
pub(super) fn available() -> u64 {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return u64::MAX };
    groups.lines().filter_map(Kind::of).map(Kind::available).min().unwrap_or(u64::MAX)
}

/// A hierarchy that limits memory: where it is mounted, our group in it, and its files.
struct Kind<'t> {
    root: &'static str,
    group: &'t str,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`, pages of files that the kernel gives up before it lacks any.
    cached: [&'static str; 2],
}

impl<'t> Kind<'t> {
    /// From a line `number:controllers:group`.
    fn of(line: &'t str) -> Option<Self> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        if controllers.is_empty() {
            let (limit, used) = ("memory.max", "memory.current");
            let cached = ["inactive_file", "active_file"];
            return Some(Self { root: "/sys/fs/cgroup", group, limit, used, cached });
        }
        controllers.split(',').any(|one| one == "memory").then_some(Self {
            root: "/sys/fs/cgroup/memory",
            group,
            limit: "memory.limit_in_bytes",
            used: "memory.usage_in_bytes",
            cached: ["total_inactive_file", "total_active_file"],
        })
    }

    /// The least that is left on the way from our group to the root. A container sees its own group
    /// as the root, whatever /proc says its name is.
    fn available(self) -> u64 {
        let root = Path::new(self.root);
        let mut group = PathBuf::from(self.root);
        group.push(self.group.trim_start_matches('/'));
        let way = group.ancestors().take_while(|at| at.starts_with(root));
        way.filter_map(|at| self.left_in(at)).min().unwrap_or(u64::MAX)
    }

    fn left_in(&self, group: &Path) -> Option<u64> {
        let read = |file| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
        // "max" is no number, and no limit.
        let left = read(self.limit)?.saturating_sub(read(self.used)?);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        Some(left.saturating_add(self.cached_by(&stat)))
    }

    /// Of what is used.
    fn cached_by(&self, stat: &str) -> u64 {
        let lines = stat.lines().filter_map(|line| line.split_once(' '));
        let cached = lines.filter(|(name, _)| self.cached.contains(name));
        cached.filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn pages_of_files_are_no_lack() {
        let of = |line| Kind::of(line).unwrap();
        let stat = "anon 7\nfile 900\ninactive_file 300\nactive_file 40\ntotal_inactive_file 5\n";
        assert_eq!(of("0::/a/b").cached_by(stat), 340);
        assert_eq!(of("9:cpu,memory:/a").cached_by(stat), 5);
        assert_eq!(of("0::/").cached_by(""), 0);
        assert!(Kind::of("3:cpu:/a").is_none());
    }
}
