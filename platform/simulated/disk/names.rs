//! The names on the disk, below a ring's root. The root itself is there without having been made.

//!
//! Whoever changes a name says whether that is `durable` at once; else it is after a sync of its
//! directory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Disk, Inode, Node};
use crate::simulated::namespace::Names;
use crate::simulated::stable::{Image, Stable};
use crate::{Errno, FileKind, Listed, OpenFlags};

/// What a path stands for.
fn find(names: &Names, root: &str, path: &str) -> Option<Node> {
    let root = (path == root).then_some(Node::Directory { number: 0 });
    names.seen().get(path).cloned().or(root)
}

/// The part before the last slash must be a directory.
fn in_directory(names: &Names, root: &str, path: &str) -> Result<(), Errno> {
    let Some((parent, _)) = path.rsplit_once('/').filter(|_| path != root) else { return Ok(()) };
    match find(names, root, parent) {
        Some(Node::Directory { .. }) => Ok(()),
        Some(Node::File(_)) => Err(Errno::NOTDIR),
        // What is missing may be below a file.
        None => in_directory(names, root, parent).and(Err(Errno::NOENT)),
    }
}

fn look(names: &Names, root: &str, path: &str) -> Result<Node, Errno> {
    find(names, root, path)
        .map_or_else(|| in_directory(names, root, path).and(Err(Errno::NOENT)), Ok)
}

/// A file that nobody holds for himself.
fn free_file(node: &Node) -> Result<(), Errno> {
    match node {
        Node::Directory { .. } => Err(Errno::ISDIR),
        Node::File(inode) if inode.held.load(Ordering::Relaxed) => Err(Errno::BUSY),
        Node::File(_) => Ok(()),
    }
}

impl Disk {
    /// Opens `path` as `flags` say.
    pub(in super::super) fn open(
        &self,
        root: &str,
        path: &str,
        flags: OpenFlags,
        durable: bool,
    ) -> Result<Node, Errno> {
        let create = flags.contains(OpenFlags::CREATE);
        if create && !flags.contains(OpenFlags::WRITE) {
            return Err(Errno::INVAL);
        }
        let mut names = self.names();
        if let Some(node) = find(&names, root, path) {
            if create && flags.contains(OpenFlags::EXCLUSIVE) {
                return Err(Errno::EXIST);
            }
            let directory = matches!(node, Node::Directory { .. });
            if directory && flags.contains(OpenFlags::WRITE) {
                return Err(Errno::ISDIR);
            }
            if !directory && flags.contains(OpenFlags::DIRECTORY) {
                return Err(Errno::NOTDIR);
            }
            return Ok(node);
        }
        in_directory(&names, root, path)?;
        if !create || path.is_empty() {
            return Err(Errno::NOENT);
        }
        let node = self.new_file();
        names.change(vec![(path.to_owned(), Some(node.clone()))], durable);
        Ok(node)
    }

    /// What `path` stands for.
    pub(in super::super) fn look(&self, root: &str, path: &str) -> Result<Node, Errno> {
        look(&self.names(), root, path)
    }

    /// Removes the name of a file that nobody holds for himself.
    pub(in super::super) fn remove(
        &self,
        root: &str,
        path: &str,
        durable: bool,
    ) -> Result<(), Errno> {
        let mut names = self.names();
        free_file(&look(&names, root, path)?)?;
        names.change(vec![(path.to_owned(), None)], durable);
        Ok(())
    }

    /// Gives a file another name.
    pub(in super::super) fn rename(
        &self,
        root: &str,
        (from, to): (&str, &str),
        durable: bool,
    ) -> Result<(), Errno> {
        let mut names = self.names();
        let node = look(&names, root, from)?;
        free_file(&node)?;
        in_directory(&names, root, to)?;
        if let Some(target) = find(&names, root, to) {
            free_file(&target)?;
        }
        if from != to {
            names.change(vec![(from.to_owned(), None), (to.to_owned(), Some(node))], durable);
        }
        Ok(())
    }

    /// Makes a directory in one that is there.
    pub(in super::super) fn make_below(
        &self,
        root: &str,
        path: &str,
        durable: bool,
    ) -> Result<(), Errno> {
        let mut names = self.names();
        if find(&names, root, path).is_some() {
            return Err(Errno::EXIST);
        }
        in_directory(&names, root, path)?;
        let node = Node::Directory { number: self.next_inode() };
        names.change(vec![(path.to_owned(), Some(node))], durable);
        Ok(())
    }

    /// Removes an empty directory.
    pub(in super::super) fn remove_directory(
        &self,
        root: &str,
        path: &str,
        durable: bool,
    ) -> Result<(), Errno> {
        let mut names = self.names();
        let Node::Directory { .. } = look(&names, root, path)? else { return Err(Errno::NOTDIR) };
        let below = format!("{path}/");
        if names
            .seen()
            .range(below.clone()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(&below))
        {
            return Err(Errno::NOTEMPTY);
        }
        names.change(vec![(path.to_owned(), None)], durable);
        Ok(())
    }

    /// What is in a directory.
    pub(in super::super) fn list_below(
        &self,
        root: &str,
        path: &str,
    ) -> Result<Vec<Listed>, Errno> {
        let names = self.names();
        let Node::Directory { .. } = look(&names, root, path)? else { return Err(Errno::NOTDIR) };
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let listed = |(name, node): (&String, &Node)| {
            let name = name.strip_prefix(&below)?;
            let kind = match node {
                Node::File(_) => FileKind::File,
                Node::Directory { .. } => FileKind::Directory,
            };
            (!name.contains('/')).then(|| Listed { name: name.to_owned(), kind })
        };
        Ok(names.seen().iter().filter_map(listed).collect())
    }

    /// Removes the files directly below `root` whose names begin so and which nobody holds.
    pub(in super::super) fn sweep(&self, root: &str, beginning: &str) {
        let prefix =
            if root.is_empty() { beginning.to_owned() } else { format!("{root}/{beginning}") };
        let mut names = self.names();
        let left = names.seen().iter();
        let left = left.filter(|(name, node)| name.starts_with(&prefix) && free_file(node).is_ok());
        let left: Vec<_> = left.map(|(name, _)| (name.clone(), None)).collect();
        names.change(left, true);
    }

    /// A file that has no name yet.
    pub(in super::super) fn new_file(&self) -> Node {
        let (stable, image) = (Stable::default(), Image::default());
        Node::File(Arc::new(Inode::new(self.next_inode(), &self.0.space, stable, image)))
    }
}
