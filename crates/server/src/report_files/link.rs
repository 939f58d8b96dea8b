//! Links to files of a report: `/temp/ACCOUNT/UNTIL/SIGNATURE/FILE`.
//!
//! The signature is an HMAC under a key derived from the master key, over everything else of the path. So a link names one
//! file of one account until one moment, nothing has to be remembered, and every server that has the master key honours it.

use model::{AccountId, Timestamp};
use subtle::ConstantTimeEq;

use super::ReportFile;
use crate::seal::MasterKey;

/// Where downloads are.
pub(crate) const PREFIX: &str = "/temp/";
/// How long a link is good: a download that has begun goes on.
const LINK_SECONDS: i64 = 900;

/// A link that is good for a while. `origin` is the scheme and host that the caller can reach.
pub(crate) fn url(
    key: &MasterKey,
    origin: &str,
    account: &AccountId,
    file: &ReportFile,
    now: Timestamp,
) -> String {
    let until = now.plus_seconds(LINK_SECONDS);
    let signature = sign(key, account, until, file);
    format!(
        "{origin}{PREFIX}{account}/{until}/{signature}/{}",
        file.name()
    )
}

/// The file behind a link's path; none when the link was not given out by a server with this key, or has ended.
pub(super) fn open(key: &MasterKey, path: &str, now: Timestamp) -> Option<(AccountId, ReportFile)> {
    let mut parts = path.strip_prefix(PREFIX)?.split('/');
    let account = AccountId::parse(parts.next()?).ok()?;
    let until = Timestamp(parts.next()?.parse().ok()?);
    let signature = parts.next()?;
    let file = ReportFile::of_name(parts.next()?)?;
    let expected = sign(key, &account, until, &file);
    let is_ours: bool = expected.as_bytes().ct_eq(signature.as_bytes()).into();
    (is_ours && parts.next().is_none() && now < until).then_some((account, file))
}

fn sign(key: &MasterKey, account: &AccountId, until: Timestamp, file: &ReportFile) -> String {
    hex::encode(key.sign_link(&format!("{account}/{until}/{}", file.name())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::{LINK_SECONDS, open, url};
    use crate::report_files::ReportFile;
    use crate::seal::MasterKey;
    use model::{AccountId, Timestamp};

    const NOW: Timestamp = Timestamp(1_700_000_000);

    fn link(key: &MasterKey) -> (AccountId, ReportFile, String) {
        let account = AccountId::new(7);
        let file = ReportFile::of_name("job-1a-total.csv").unwrap();
        let url = url(key, "https://host:1", &account, &file, NOW);
        let path = url.strip_prefix("https://host:1").unwrap().to_owned();
        (account, file, path)
    }

    #[test]
    fn a_link_opens_its_file_until_it_ends() {
        let key = MasterKey::generate();
        let (account, file, path) = link(&key);
        let at = |seconds| open(&key, &path, NOW.plus_seconds(seconds));
        assert_eq!(at(0), Some((account.clone(), file.clone())));
        assert_eq!(at(LINK_SECONDS - 1), Some((account, file)));
        assert_eq!(at(LINK_SECONDS), None);
        assert!(open(&MasterKey::generate(), &path, NOW).is_none());
    }

    #[test]
    fn no_other_path_opens_anything() {
        let key = MasterKey::generate();
        let path = link(&key).2;
        for position in 0..path.len() {
            for letter in ['0', '1', 'a', '/', '-'] {
                let mut other = path.clone();
                other.replace_range(position..=position, &letter.to_string());
                assert!(
                    other == path || open(&key, &other, NOW).is_none(),
                    "{other}"
                );
            }
            assert!(open(&key, &path[..position], NOW).is_none());
        }
        assert!(open(&key, &format!("{path}/"), NOW).is_none());
        let longer = path.replace("1700000900", "1800000000");
        assert_ne!(longer, path);
        assert!(open(&key, &longer, NOW).is_none());
    }
}
