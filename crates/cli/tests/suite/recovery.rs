//! When everything is gone but a vault and the recovery file.

use super::bench::{Bench, assert_same};

#[test]
fn a_vault_and_the_recovery_file_are_enough() {
    let bench = Bench::new();
    let source = bench.small_source("source");
    bench.serve_once(&[&source]).expect(0);
    let data = bench.data_dir();
    let vault = std::fs::read_dir(data.join("vaults"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let is_recovery = |name: &str| name.starts_with("recovery-");
    let recovery = std::fs::read_dir(&data)
        .unwrap()
        .flatten()
        .find(|entry| is_recovery(&entry.file_name().to_string_lossy()));
    let (kept_vault, kept_file) = (bench.path("kept-vault"), bench.path("kept.txt"));
    std::fs::rename(&vault, &kept_vault).unwrap();
    std::fs::rename(recovery.unwrap().path(), &kept_file).unwrap();
    std::fs::remove_dir_all(&data).unwrap();

    let adopt = [
        "vault",
        "adopt",
        "--recovery-file",
        kept_file.to_str().unwrap(),
        "--storage",
        kept_vault.to_str().unwrap(),
    ];
    let done = bench.run(&adopt).expect(0);
    assert!(done.out.contains("1 snapshot,"), "{}", done.out);
    let service = bench.serve(&[]);
    assert_eq!(
        bench
            .run(&["snapshots", "--json"])
            .expect(0)
            .json_lines()
            .len(),
        1
    );
    let target = bench.path("restored");
    bench
        .run(&["restore", "latest", "--target", target.to_str().unwrap()])
        .expect(0);
    assert_same(&source, &target);
    service.interrupt().expect(0);
    // Again changes nothing.
    bench.run(&adopt).expect(0);
}

#[test]
fn a_file_that_is_no_recovery_file_is_refused() {
    let bench = Bench::new();
    let (file, vault) = (bench.path("letter.txt"), bench.path("vault"));
    std::fs::write(&file, "dear").unwrap();
    std::fs::create_dir(&vault).unwrap();
    let arguments = [
        "vault",
        "adopt",
        "--recovery-file",
        file.to_str().unwrap(),
        "--storage",
        vault.to_str().unwrap(),
    ];
    let done = bench.run(&arguments).expect(1);
    assert!(
        done.err.contains("not a recovery file") && done.err.contains("next:"),
        "{}",
        done.err
    );
}
