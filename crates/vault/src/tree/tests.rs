//! Trees against text that restic wrote, and against themselves.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{Tree, canonical};
use crate::id::Id;
use crate::node::{Node, NodeKind, Xattr};
use crate::time::Time;

/// Written by restic 0.14 for a folder of odd entries.
const BY_RESTIC: &str = concat!(
    r#"{"nodes":[{"name":"a.txt","type":"file","mode":420,"mtime":"2026-11-24T08:15:14.657080862Z","atime":"2026-11-24T08:15:14.657080862Z","ctime":"2026-11-24T08:15:14.657080862Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994295,"device_id":65024,"size":6,"links":2,"content":["5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"]},"#,
    r#"{"name":"bad\\xff\\x01\\n\\\"q\\\\tab\\t\\u200b\\u2028é\\x7f\\u00a0\u003c\u003e\u0026","type":"file","mode":420,"mtime":"2026-11-24T08:15:14.660620256Z","atime":"2026-11-24T08:15:14.660620256Z","ctime":"2026-11-24T08:15:14.660620256Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994299,"device_id":65024,"size":1,"links":1,"extended_attributes":[{"name":"user.x","value":"AP8="}],"content":["2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]},"#,
    r#"{"name":"d","type":"dir","mode":2147484141,"mtime":"2026-11-24T08:15:14.656529275Z","atime":"2026-11-24T08:15:14.656529275Z","ctime":"2026-11-24T08:15:14.656529275Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994294,"device_id":65024,"content":null,"subtree":"ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"},"#,
    r#"{"name":"dev","type":"chardev","mode":69206436,"mtime":"2026-11-24T08:15:14.662343888Z","atime":"2026-11-24T08:15:14.662343888Z","ctime":"2026-11-24T08:15:14.662343888Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994301,"device_id":65024,"links":1,"device":259,"content":null},"#,
    r#"{"name":"empty","type":"file","mode":8389101,"mtime":"2026-11-24T08:15:14.657080862Z","atime":"2026-11-24T08:15:14.657080862Z","ctime":"2026-11-24T08:15:14.660620256Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994296,"device_id":65024,"links":1,"content":[]},"#,
    r#"{"name":"fifo","type":"fifo","mode":33554852,"mtime":"2026-11-24T08:15:14.658266088Z","atime":"2026-11-24T08:15:14.658266088Z","ctime":"2026-11-24T08:15:14.658266088Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994298,"device_id":65024,"content":null},"#,
    r#"{"name":"link","type":"symlink","mode":134218239,"mtime":"2026-11-24T08:15:14.658266088Z","atime":"2026-11-24T08:15:14.658266088Z","ctime":"2026-11-24T08:15:14.658266088Z","uid":0,"gid":0,"user":"root","group":"root","inode":9994297,"device_id":65024,"links":1,"linktarget":"a b\"c","content":null},"#,
    r#"{"name":"link2","type":"symlink","mode":134218239,"mtime":"2026-11-24T08:15:14Z","atime":"2026-11-24T08:15:14Z","ctime":"2026-11-24T08:15:14Z","uid":0,"gid":0,"inode":1,"linktarget":"to\ufffd","linktarget_raw":"dG/+","generic_attributes":{"windows.x":"AA=="},"content":null}]}"#,
    "\n"
);

#[test]
fn text_of_restic_is_read_and_written_back_byte_for_byte() {
    let tree = Tree::decode(BY_RESTIC.as_bytes()).unwrap();
    assert_eq!(tree.nodes.len(), 8);
    assert_eq!(
        tree.nodes[1].name,
        b"bad\xff\x01\n\"q\\tab\t\xe2\x80\x8b\xe2\x80\xa8\xc3\xa9\x7f\xc2\xa0<>&"
    );
    assert_eq!(tree.nodes[1].xattrs[0].value, b"\0\xff");
    assert_eq!(tree.nodes[2].kind, NodeKind::Dir);
    assert_eq!(tree.nodes[4].mode, 0o104_755);
    assert_eq!(tree.nodes[7].link_target, b"to\xfe");
    assert_eq!(
        String::from_utf8(tree.encode().unwrap()).unwrap(),
        BY_RESTIC
    );
}

#[test]
fn an_empty_tree_is_as_restic_writes_it() {
    assert_eq!(Tree::default().encode().unwrap(), b"{\"nodes\":[]}\n");
    assert_eq!(Tree::decode(b"{\"nodes\":[]}\n").unwrap(), Tree::default());
}

#[test]
fn what_is_no_tree_is_refused() {
    for wrong in [
        "",
        "{}",
        "[]",
        "null",
        "{\"nodes\":null}",
        "{\"nodes\":[{\"name\":\"a\\\\q\"}]}",
        "{\"nodes\":[{\"name\":\"a\",\"mtime\":\"yesterday\"}]}",
        "{\"nodes\":[{\"name\":\"a\",\"content\":[\"12\"]}]}",
        "{\"nodes\":[{\"name\":\"a\",\"linktarget_raw\":\"*\"}]}",
        "{\"nodes\":[]} x",
    ] {
        assert!(Tree::decode(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_tree_out_of_order_or_with_a_name_twice_is_not_written() {
    let node = |name: &str| Node {
        name: name.into(),
        ..Node::default()
    };
    let unsorted = Tree {
        nodes: vec![node("b"), node("a")],
    };
    assert!(unsorted.encode().is_err());
    assert!(Tree::from_nodes(unsorted.nodes).encode().is_ok());
    assert!(
        Tree::from_nodes(vec![node("a"), node("a")])
            .encode()
            .is_err()
    );
}

fn any_time() -> impl Strategy<Value = Time> {
    (-10_000_000_000_i64..100_000_000_000, 0_u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| Time::new(seconds, nanoseconds))
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        "\\PC{0,8}".prop_map(String::into_bytes),
        ".{0,8}".prop_map(String::into_bytes),
    ]
}

fn any_kind() -> impl Strategy<Value = (NodeKind, u32)> {
    prop_oneof![
        Just(0o100_000_u32),
        Just(0o040_000),
        Just(0o120_000),
        Just(0o060_000),
        Just(0o020_000),
        Just(0o010_000),
        Just(0o140_000),
        Just(0)
    ]
    .prop_flat_map(|kind| {
        (0_u32..0o10000).prop_map(move |mode| (NodeKind::of_mode(kind | mode), kind | mode))
    })
}

fn any_node() -> impl Strategy<Value = Node> {
    let numbers = any::<(u32, u32, u64, u64, u64, u64, u64)>();
    let texts = (
        any_bytes(),
        any_bytes(),
        "\\PC{0,6}",
        "\\PC{0,6}",
        "\\PC{0,6}",
    );
    let xattrs = proptest::collection::vec(("[a-z.]{1,8}", any_bytes()), 0..3);
    let content = proptest::collection::vec(any::<[u8; 32]>(), 0..3);
    let times = (any_time(), any_time(), any_time());
    (
        any_kind(),
        times,
        numbers,
        texts,
        xattrs,
        content,
        any::<Option<[u8; 32]>>(),
    )
        .prop_map(
            |((kind, mode), times, numbers, texts, xattrs, content, subtree)| Node {
                name: texts.0,
                kind,
                mode,
                mtime: times.0,
                atime: times.1,
                ctime: times.2,
                uid: numbers.0,
                gid: numbers.1,
                inode: numbers.2,
                device_id: numbers.3,
                size: numbers.4,
                links: numbers.5,
                device: numbers.6,
                link_target: texts.1,
                user: texts.2,
                group: texts.3,
                error: texts.4,
                xattrs: xattrs
                    .into_iter()
                    .map(|(name, value)| Xattr {
                        name: name.into_bytes(),
                        value,
                    })
                    .collect(),
                generic_attributes: None,
                content: match kind {
                    NodeKind::File => content.into_iter().map(Id::new).collect(),
                    _ => Vec::new(),
                },
                subtree: subtree.map(Id::new),
            },
        )
}

/// A node whose texts need no escapes.
fn plain_node() -> impl Strategy<Value = Node> {
    let text = "[ -!#-%\\x27-;=?-\\[\\]-~]{0,9}";
    (any_node(), text, text, text, text).prop_map(|(node, name, target, user, group)| Node {
        name: name.into_bytes(),
        link_target: target.into_bytes(),
        user,
        group,
        error: String::new(),
        xattrs: Vec::new(),
        ..node
    })
}

/// A small change of a text.
#[derive(Debug, Clone)]
enum Edit {
    Set(u8),
    Insert(u8),
    Remove,
    Repeat,
}

impl Edit {
    fn apply(&self, at: usize, text: &mut Vec<u8>) {
        match *self {
            Self::Set(byte) => text[at] = byte,
            Self::Insert(byte) => text.insert(at, byte),
            Self::Remove => drop(text.remove(at)),
            Self::Repeat => {
                let end = text.len().min(at + 9);
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = || {
        prop_oneof![
            any::<u8>(),
            proptest::sample::select(b"0129-+.,:{}[]\"\\ eEnulZT".to_vec())
        ]
    };
    prop_oneof![
        byte().prop_map(Edit::Set),
        byte().prop_map(Edit::Insert),
        Just(Edit::Remove),
        Just(Edit::Repeat),
    ]
}

impl Tree {
    /// As `encode`, in whatever order the nodes are.
    fn encode_unsorted(&self) -> Vec<u8> {
        let mut out = b"{\"nodes\":[".to_vec();
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            super::push_node(node, &mut out);
        }
        out.extend_from_slice(b"]}\n");
        out
    }
}

proptest! {
    #[test]
    fn any_node_round_trips(node in any_node()) {
        let tree = Tree { nodes: vec![node] };
        let text = tree.encode().unwrap();
        let again = Tree::decode(&text).unwrap();
        prop_assert_eq!(&again, &tree);
        prop_assert_eq!(again.encode().unwrap(), text);
    }

    /// The two readers agree on whatever the quick one accepts, also when the text was tampered with.
    #[test]
    fn what_is_read_quickly_is_read_the_same(
        nodes in proptest::collection::vec(plain_node(), 0..4),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), edit()), 0..3),
    ) {
        let mut text = Tree { nodes }.encode_unsorted();
        prop_assert!(canonical::decode(&text).is_some(), "{}", String::from_utf8_lossy(&text));
        for (place, edit) in edits {
            edit.apply(place.index(text.len()), &mut text);
        }
        if let Some(nodes) = canonical::decode(&text) {
            prop_assert_eq!(Tree::decode_any(&text).unwrap(), Tree { nodes });
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..60)) {
        drop(Tree::decode(&text));
        let mut inside = b"{\"nodes\":[{\"name\":\"".to_vec();
        inside.extend_from_slice(&text);
        inside.extend_from_slice(b"\"}]}");
        drop(Tree::decode(&inside));
    }
}
