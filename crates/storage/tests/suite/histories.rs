//! Random histories of calls against a naive map.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use storage::{ErrorKind, Storage};

use crate::behaviour::with_every_storage;

#[derive(Debug, Clone)]
enum Step {
    Put(String, Vec<u8>),
    Get(String),
    Delete(String),
    List(String),
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = "(a|b|c/(a|b)|c/d/e)";
    proptest::prop_oneof![
        (name, proptest::collection::vec(any::<u8>(), 0..3))
            .prop_map(|(name, bytes)| Step::Put(name, bytes)),
        name.prop_map(Step::Get),
        name.prop_map(Step::Delete),
        "(|c|c/d|z)".prop_map(Step::List),
    ]
}

fn run(storage: &dyn Storage, steps: &[Step]) {
    let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    // The root of a storage comes into being with its first file.
    storage.put("first", b"1").unwrap();
    model.insert("first".to_owned(), b"1".to_vec());
    for step in steps {
        match step {
            Step::Put(name, bytes) => {
                let expected = match model.get(name) {
                    Some(old) if old != bytes => Some(ErrorKind::AlreadyExists),
                    _ => None,
                };
                assert_eq!(
                    storage.put(name, bytes).err().map(|error| error.kind),
                    expected
                );
                model.entry(name.clone()).or_insert_with(|| bytes.clone());
            }
            Step::Get(name) => {
                let found = storage.get(name).map_err(|error| error.kind);
                assert_eq!(found, model.get(name).cloned().ok_or(ErrorKind::NotFound));
            }
            Step::Delete(name) => {
                let found = storage.delete(name).map_err(|error| error.kind);
                assert_eq!(
                    found,
                    model.remove(name).map(drop).ok_or(ErrorKind::NotFound)
                );
            }
            Step::List(folder) => {
                let listed = storage.list(folder).unwrap();
                let found: Vec<(&str, u64)> = listed
                    .iter()
                    .map(|entry| (entry.name.as_str(), entry.size_bytes))
                    .collect();
                let below =
                    |name: &str| folder.is_empty() || name.starts_with(&format!("{folder}/"));
                let expected: Vec<(&str, u64)> = model
                    .iter()
                    .filter(|(name, _)| below(name))
                    .map(|(name, bytes)| (name.as_str(), bytes.len() as u64))
                    .collect();
                assert_eq!(found, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_history_is_that_of_a_map(steps in proptest::collection::vec(any_step(), 0..30)) {
        with_every_storage(|storage| run(&*storage, &steps));
    }
}
