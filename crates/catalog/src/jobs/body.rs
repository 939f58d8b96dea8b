//! Bodies: jobs as the API shows them, kept packed and given out without being read.
//!
//! A job that has ended does not change any more: its JSON is made once, in the transaction that ends it, and spliced into
//! every reply that shows it. Who makes it is the caller ([`Renderer`]): the catalog does not know the API's shapes.
//!
//! A packed body is one byte with the number of its dictionary, one byte with the renderer's version (0: it came from
//! elsewhere and is given out as it came), four bytes with its length, little-endian, and a zstd frame. Dictionaries are
//! trained with `cargo xtask bench ledger --train` and only ever added to; number 0 is none. A body of another version of
//! the renderer is made anew from the job's columns when it is shown.

use std::cell::RefCell;
use std::sync::LazyLock;

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::records::Job;

/// Makes the JSON of a job, and says which version of the form that is.
#[derive(Debug, Clone, Copy)]
pub struct Renderer {
    /// 1 to 255; raised when the same job gets another JSON.
    pub version: u8,
    /// The JSON object of a job.
    pub render: fn(&Job) -> Vec<u8>,
}

/// The dictionary that new bodies are packed with.
const DICTIONARY: &[u8] = include_bytes!("../../dictionaries/job-body-1.zdict");
const DICTIONARY_NUMBER: u8 = 1;
/// The version of bodies that came from elsewhere.
pub(super) const IMPORTED: u8 = 0;
const HEADER_BYTES: usize = 6;
/// Higher levels win nothing on bodies of a kilobyte.
const LEVEL: i32 = 3;
/// Longest body that is unpacked: more is damage.
const MAX_BODY_BYTES: usize = 64 << 20;

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Packs a body; `None` when that cannot be done, and the body is then made when it is shown.
pub(super) fn pack(version: u8, json: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(json.len())
        .ok()
        .filter(|_| json.len() <= MAX_BODY_BYTES)?;
    let frame = COMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Compressor::with_prepared_dictionary(&ENCODER).ok()?);
        }
        kept.as_mut()?.compress(json).ok()
    })?;
    let mut packed = Vec::with_capacity(HEADER_BYTES + frame.len());
    packed.extend([DICTIONARY_NUMBER, version]);
    packed.extend(length.to_le_bytes());
    packed.extend(frame);
    Some(packed)
}

/// The body of a packed one; `None` when it is of another version of the renderer, or damaged.
pub(super) fn unpack(renderer: Option<Renderer>, packed: &[u8]) -> Option<Vec<u8>> {
    let (header, frame) = packed.split_at_checked(HEADER_BYTES)?;
    let [dictionary, version, length @ ..] = header else {
        return None;
    };
    let is_present =
        *version == IMPORTED || renderer.is_some_and(|renderer| renderer.version == *version);
    if *dictionary != DICTIONARY_NUMBER || !is_present {
        return None;
    }
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if length > MAX_BODY_BYTES {
        return None;
    }
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::with_prepared_dictionary(&DECODER).ok()?);
        }
        let body = kept.as_mut()?.decompress(frame, length).ok()?;
        (body.len() == length).then_some(body)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RENDERER: Renderer = Renderer {
        version: 7,
        render: |_| Vec::new(),
    };

    #[test]
    fn bodies_come_back() {
        let long = "x".repeat(300_000);
        for json in [
            "",
            "{}",
            "{\"JobId\":\"job-1\",\"Status\":\"COMPLETE\"}",
            &long,
        ] {
            for version in [IMPORTED, 7] {
                let packed = pack(version, json.as_bytes()).unwrap();
                assert_eq!(unpack(Some(RENDERER), &packed).unwrap(), json.as_bytes());
            }
        }
    }

    /// Names and usual values come from the dictionary: what is left is little more than the ids and numbers.
    #[test]
    fn a_usual_body_is_small() {
        let json = r#"{"JobId":"job-0000042fgxnuvj00v3o8","JobName":"home","Status":"COMPLETE","ErrorMessage":"","SourceType":"ECS_FILE","BackupType":"COMPLETE","VaultId":"v-00000fgxnuvj00v3o8ab","PlanId":"plan-00000fgxnuv9j0v3o8ab","Progress":10000,"CreatedTime":1712345678,"StartTime":1712345680,"CompleteTime":1712346999,"UpdatedTime":1712346999,"ActualBytes":12345678901,"BytesDone":32345678901,"BytesTotal":92345678901,"Speed":92345,"TriggerMode":"SCHEDULE","ClientId":"c-00000fgxnu0j00v3o8ab","InstanceId":"i-00000fgxnuvj00v3o8ab","Options":"{\"UseVSS\":false}","Paths":{"Path":["/home"]},"Include":"[]","Exclude":"[]","SpeedLimit":"","ItemsTotal":684044,"ItemsDone":205212,"ActualItems":87948,"FilesTotal":615637,"FilesDone":205212,"ActualFiles":87948,"CrossAccountType":"SELF_ACCOUNT"}"#;
        let packed = pack(7, json.as_bytes()).unwrap();
        assert!(
            packed.len() < json.len() / 3,
            "{} of {} bytes",
            packed.len(),
            json.len()
        );
    }

    #[test]
    fn another_versions_body_and_damage_are_refused() {
        let packed = pack(6, b"{\"JobId\":\"job-1\"}").unwrap();
        assert_eq!(unpack(Some(RENDERER), &packed), None);
        assert_eq!(unpack(None, &packed), None);
        let mut packed = pack(7, b"{\"JobId\":\"job-1\"}").unwrap();
        assert!(unpack(Some(RENDERER), &packed[..packed.len() - 1]).is_none());
        assert!(unpack(Some(RENDERER), &packed[..3]).is_none());
        packed[2] += 1;
        assert!(unpack(Some(RENDERER), &packed).is_none());
        packed[2] -= 1;
        packed[0] = 0;
        assert!(unpack(Some(RENDERER), &packed).is_none());
    }
}
