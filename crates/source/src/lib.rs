//! A project's own files, copied into a directory as they are at the moment of the call.
//!
//! [`Project::find`] says which directory the project of a pipeline is. A [`Selection`] says which part of it
//! is meant. [`import`] copies that part, with uncommitted and untracked files, and without what ignore rules
//! leave out. [`import_indexed`] does that too, and [`import_again`] brings its copy up to date. [`scan`] lists
//! the same files without copying them, and [`hash_files`] hashes some of them.
//!
//! **What is left out.** The rules are those of git: every `.gitignore`, `.git/info/exclude` and the user's
//! `core.excludesFile`. They hold in directories without git too. A file that git tracks stays, whatever they
//! say. A `.ciignore` has the same syntax, overrules them, and leaves out tracked files as well. A rule applies
//! to what is below the selected path, not to the path itself.
//!
//! **What is kept.** Modes, times of modification to the nanosecond, symbolic links as links, hard links within
//! the copied tree, holes of sparse files, empty directories. Files belong to the user who runs this. Extended
//! attributes are not copied. Sockets, pipes and devices are skipped with a notice.
//!
//! **What a snapshot means.** A file is copied only if its size, its times and its inode are the same before and
//! after it was read. Otherwise it is read again, and is an error if it never stands still. A file that is gone
//! by the time that it is read is left out. `.git` is listed again after it was copied, until nothing in it has
//! changed, so that its refs name objects that were copied.
//!
//! **What is trusted.** Nothing from the project is executed: git itself is never started, so no hook, filter or
//! monitor runs. Files are opened below a handle of the project without following links, so no link that
//! appears meanwhile leads out of it.

mod again;
mod batch;
mod content;
mod copy;
mod destination;
mod directories;
mod error;
mod further_names;
mod git_config;
mod git_file;
mod git_index;
mod git_place;
mod git_tree;
mod glob;
mod handle;
mod hash;
mod import;
mod links;
mod listing;
mod made;
mod name;
mod notices;
mod options;
mod progress;
mod project;
mod repository;
mod rules;
mod scan;
mod selection;
mod settle;
mod walk;

pub use again::{Again, Kept, import_again, import_indexed};
pub use error::SourceError;
pub use hash::hash_files;
pub use import::{Imported, import};
pub use listing::{Directory, Entry, Kind, Listing, Stamp};
pub use name::remote_name;
pub use options::Options;
pub use progress::Progress;
pub use project::Project;
pub use scan::scan;
pub use selection::Selection;
