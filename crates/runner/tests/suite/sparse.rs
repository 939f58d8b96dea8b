//! T27: zeros and holes of every awkward length, borg#8963 and #1920.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use runner::Outcome;
use testkit::compare::{self, CompareOptions};

use crate::support::{
    age, assert_same, back_up, below, bring_back, folder_repository, memory_repository, request,
    restore_request, run, run_restore, temp,
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A file of `length` bytes that holds data at the given places and holes elsewhere.
fn sparse(path: &Path, length: u64, data: &[(u64, u64)]) {
    let file = File::create(path).unwrap();
    file.set_len(length).unwrap();
    for (offset, count) in data {
        let bytes = testkit::content::random_bytes(*count as usize, *offset + 1);
        file.write_all_at(&bytes, *offset).unwrap();
    }
}

#[test]
fn t27_zeros_and_holes_keep_their_length() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let chunk = 512 * KIB;
    let longest = 8 * MIB;
    let lengths = [
        0,
        1,
        chunk - 1,
        chunk,
        chunk + 1,
        longest - 1,
        longest,
        longest + 1,
        2 * longest + 3,
    ];
    for length in lengths {
        sparse(&tree.join(format!("hole-{length}")), length, &[]);
        std::fs::write(
            tree.join(format!("zeros-{length}")),
            vec![0; length as usize],
        )
        .unwrap();
    }
    let total = 3 * longest + 777;
    sparse(&tree.join("hole-at-start"), total, &[(total - 5, 5)]);
    sparse(&tree.join("hole-at-end"), total, &[(0, 5)]);
    sparse(
        &tree.join("holes-at-both-ends"),
        total,
        &[(longest + 1, MIB)],
    );
    sparse(
        &tree.join("hole-in-the-middle"),
        total,
        &[(0, MIB), (total - MIB, MIB)],
    );
    sparse(
        &tree.join("many-holes"),
        total,
        &[
            (MIB, 1),
            (5 * MIB, 4096),
            (9 * MIB + 1, 1),
            (20 * MIB, 70_000),
        ],
    );
    sparse(&tree.join("huge-hole"), 3 << 30, &[((3 << 30) - 10, 10)]);
    let repository = folder_repository(&temp.path().join("vault"));
    let report = back_up(&repository, &tree);
    assert!(
        report.summary.data_added_packed < 10 * MIB,
        "{}",
        report.summary.data_added_packed
    );
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    let options = CompareOptions {
        holes: true,
        skip_root: false,
    };
    let mut differences = compare::trees(&tree, &below(&target, &tree), options).unwrap();
    // A hole of one byte saves nothing, and is written.
    differences.retain(|difference| !difference.starts_with("hole-1: has no holes"));
    assert!(differences.is_empty(), "{differences:#?}");
    let huge = std::fs::metadata(below(&target, &tree).join("huge-hole")).unwrap();
    assert!(huge.blocks() * 512 < MIB, "{}", huge.blocks());
}

/// Both by the chunker of files and by that of images, wherever the holes begin.
#[test]
fn t27_a_hole_and_written_zeros_give_the_same_chunks() {
    for length in [20 * MIB + 5, 20 * MIB] {
        let temp = temp();
        let repository = folder_repository(&temp.path().join("vault"));
        let (hole, zeros) = (temp.path().join("hole"), temp.path().join("zeros"));
        sparse(
            &hole,
            length,
            &[(0, 100_000), (8 * MIB - 7, 50_000), (17 * MIB, 100)],
        );
        let content = std::fs::read(&hole).unwrap();
        std::fs::write(&zeros, content).unwrap();
        let first = back_up(&repository, &zeros);
        assert!(first.summary.data_blobs > 0);
        let second = back_up(&repository, &hole);
        assert_eq!(second.summary.data_blobs, 0, "{length}");
    }
}

#[test]
fn an_image_that_is_written_in_place_adds_little_more_than_was_written() {
    const WRITES: u64 = 20;
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let image = tree.join("disk.img");
    sparse(&image, 40 * MIB, &[(0, 32 * MIB)]);
    let repository = folder_repository(&temp.path().join("vault"));
    back_up(&repository, &tree);
    let file = File::options().write(true).open(&image).unwrap();
    for number in 0..WRITES {
        let block = testkit::content::random_bytes(4096, 1000 + number);
        file.write_all_at(&block, number * (2 * MIB - 4096))
            .unwrap();
    }
    let report = back_up(&repository, &tree);
    let added = report.summary.data_added;
    // Each write changes the chunk that holds it, and seldom the next; those in the hole a longer one.
    let most = WRITES * 2 * 80 * KIB + 4 * MIB;
    assert!((WRITES * 4 * KIB..most).contains(&added), "{added}");
    let target = temp.path().join("target");
    bring_back(&repository, &target);
    let differences =
        compare::trees(&tree, &below(&target, &tree), CompareOptions::default()).unwrap();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A file that says to have exbibytes costs an attacker nothing. It must cost us no more than a row of the error list.
#[test]
fn a_file_of_more_chunks_than_a_snapshot_can_list_is_one_failed_item() {
    // Only a file system in memory has files of this size.
    let temp = tempfile::tempdir_in("/dev/shm").unwrap();
    let tree = temp.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    sparse(&tree.join("huge"), 4 << 60, &[]);
    std::fs::write(tree.join("small"), "small").unwrap();
    let repository = memory_repository();
    let (result, ear) = run(&request(&repository, &tree));
    assert_eq!(result.unwrap().outcome, Outcome::Partial);
    assert_eq!(ear.paths(), [tree.join("huge")]);
    let (result, _) = run_restore(&restore_request(&repository, &temp.path().join("target")));
    result.unwrap();
    let restored = below(&temp.path().join("target"), &tree);
    assert_eq!(
        std::fs::read_to_string(restored.join("small")).unwrap(),
        "small"
    );
    assert!(!restored.join("huge").exists());
}

/// A folder whose list of entries is larger than a blob may be is kept empty and told; the rest goes on.
#[test]
fn a_folder_of_too_many_entries_is_one_failed_item() {
    let temp = temp();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("way/crowded")).unwrap();
    for number in 0..100 {
        std::fs::write(tree.join(format!("way/crowded/{number}")), "x").unwrap();
    }
    std::fs::write(tree.join("way/small"), "small").unwrap();
    let repository = memory_repository();
    let mut request = request(&repository, &tree);
    request.writer.largest_blob_bytes = 10_000;
    for _ in 0..2 {
        let (result, ear) = run(&request);
        assert_eq!(result.unwrap().outcome, Outcome::Partial);
        assert_eq!(ear.paths(), [tree.join("way/crowded")]);
        age();
    }
    // The next backup that can hold it does.
    back_up(&repository, &tree);
    bring_back(&repository, &temp.path().join("target"));
    assert_same(&tree, &below(&temp.path().join("target"), &tree));
}
