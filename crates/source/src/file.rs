//! The files of a Linux host: reading them, and writing them back.
//!
//! Reading order: [`stat`] (one entry's metadata), [`path`] (long paths as chains of names), [`dir`] (an open folder),
//! [`filter`] (include and exclude patterns), `pseudo` and `cachedir` (what is left out by its nature), [`listing`]
//! (a folder's entries after all of that), [`reader`] (a file's content), [`xattrs`], [`names`] (users and groups),
//! [`roots`] (the paths of a job as one tree), [`expand`] (patterns to the paths there are), [`target`] (the way back).
//!
//! Every access below a root goes through the file descriptor of the folder that holds the name, with `O_NOFOLLOW`:
//! no path is ever resolved twice, and no path is too long.

mod cachedir;
pub mod dir;
pub mod expand;
pub mod filter;
pub mod listing;
pub mod names;
pub mod path;
mod pseudo;
pub mod reader;
pub mod roots;
pub mod stat;
pub mod target;
pub mod xattrs;
