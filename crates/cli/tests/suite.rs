//! Black-box tests of the binary `strongroom`: what a person or a script does with it, on real folders, with real
//! signals, and stock restic beside it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod suite {
    mod answers;
    mod bench;
    mod confined;
    mod contents;
    mod flags;
    mod lines;
    mod looking;
    mod maintain;
    mod recovery;
    mod repo;
    mod retention;
    mod selection;
    mod serve;
}
