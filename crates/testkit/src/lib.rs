//! What tests of several crates share: trees with every kind of file, their comparison, and real peers.
//!
//! Owns the one description of "a tree as users have them" and of "the same tree". Used by tests only, from Rust as a
//! library and from the black-box tests as the program `testkit`. Never part of the product.
//!
//! Reading order: [`content`] (bytes of files), [`tree`] (fixtures), [`deep`] (paths beyond `PATH_MAX`), [`manifest`]
//! (what a tree holds), [`compare`] (how two trees differ), [`programs`] (stock restic and the `strongroom` binary).

pub mod compare;
pub mod content;
pub mod deep;
pub mod manifest;
pub mod programs;
pub mod tree;
