//! Statements in PostgreSQL's words, its types and its errors.
//!
//! PostgreSQL's texts have no NUL. Ours may (a path in JSON does not, but a name can), so U+0000 is kept as U+0001 U+0001
//! and U+0001 as U+0001 U+0002: order and equality stay as they are.

use std::borrow::Cow;
use std::error::Error as _;

use bytes::{BufMut, BytesMut};
use postgres::error::SqlState;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::sql::rows::Column;
use crate::sql::{Param, Result, SqlErrorKind, ValueRef, damage};

/// The statement with `$1`, `$2` … for its `?`, those within quotes excepted.
pub(super) fn numbered(sql: &str) -> String {
    let mut numbered = String::with_capacity(sql.len() + 16);
    let (mut count, mut is_quoted) = (0, false);
    for letter in sql.chars() {
        is_quoted ^= letter == '\'';
        if letter == '?' && !is_quoted {
            count += 1;
            numbered.push_str(&format!("${count}"));
        } else {
            numbered.push(letter);
        }
    }
    numbered
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Integer(number) if *ty == Type::INT8 => out.put_i64(*number),
            Self::Integer(number) if *ty == Type::INT4 => out.put_i32(i32::try_from(*number)?),
            Self::Integer(number) if *ty == Type::BOOL => out.put_u8(u8::from(*number != 0)),
            Self::Text(text) if *ty == Type::TEXT || *ty == Type::VARCHAR => {
                out.put_slice(without_nul(text).as_bytes());
            }
            Self::Blob(bytes) if *ty == Type::BYTEA => out.put_slice(bytes),
            other => return Err(format!("{other:?} is no {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn without_nul(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte > 1) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\0' => kept.push_str("\u{1}\u{1}"),
            '\u{1}' => kept.push_str("\u{1}\u{2}"),
            letter => kept.push(letter),
        }
    }
    Cow::Owned(kept)
}

fn with_nul(kept: &str) -> Cow<'_, str> {
    if !kept.contains('\u{1}') {
        return Cow::Borrowed(kept);
    }
    let mut text = String::with_capacity(kept.len());
    let mut letters = kept.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1}' if letters.next() == Some('\u{1}') => text.push('\0'),
            letter => text.push(letter),
        }
    }
    Cow::Owned(text)
}

pub(in crate::sql) fn value<'a>(
    row: &'a postgres::Row,
    column: Column<'_>,
) -> Result<ValueRef<'a>> {
    let columns = row.columns();
    let place = match column {
        Column::Place(place) => Some(place),
        Column::Name(name) => columns.iter().position(|column| column.name() == name),
    };
    let Some((place, ty)) = place.and_then(|place| Some((place, columns.get(place)?.type_())))
    else {
        return Err(damage(format!("there is no column {column}")));
    };
    let value = match *ty {
        Type::INT8 => row.try_get::<_, Option<i64>>(place)?.map(ValueRef::Integer),
        Type::INT4 => row
            .try_get::<_, Option<i32>>(place)?
            .map(|number| ValueRef::Integer(i64::from(number))),
        Type::BOOL => row
            .try_get::<_, Option<bool>>(place)?
            .map(|flag| ValueRef::Integer(i64::from(flag))),
        Type::TEXT | Type::VARCHAR => row
            .try_get::<_, Option<&str>>(place)?
            .map(|text| ValueRef::Text(with_nul(text))),
        Type::BYTEA => row.try_get::<_, Option<&[u8]>>(place)?.map(ValueRef::Blob),
        _ => return Err(damage(format!("column {column} is of type {ty}"))),
    };
    Ok(value.unwrap_or(ValueRef::Null))
}

/// The causes of an error, the database's own words last.
pub(in crate::sql) fn words(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let hint = said.hint().map(|hint| format!(" ({hint})"));
        return format!("{}{}", said.message(), hint.unwrap_or_default());
    }
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// Whether the connection is gone, or the database is for now.
pub(super) fn is_away(error: &postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let code = code.code();
            // Connection exceptions; shut down, crashed, starting, idle for too long; too many connections; read only.
            code.starts_with("08")
                || code.starts_with("57P")
                || ["25P03", "53300", "25006"].contains(&code)
        }
        None => error.is_closed() || has_io_cause(error),
    }
}

fn has_io_cause(error: &postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(in crate::sql) fn kind(error: &postgres::Error) -> SqlErrorKind {
    if is_away(error) {
        return SqlErrorKind::Away(words(error));
    }
    let Some(code) = error.code() else {
        return SqlErrorKind::Other;
    };
    match *code {
        SqlState::DISK_FULL => SqlErrorKind::Full,
        SqlState::LOCK_NOT_AVAILABLE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::QUERY_CANCELED => SqlErrorKind::Busy,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => SqlErrorKind::Damaged(words(error)),
        _ => SqlErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn marks_are_numbered_but_not_in_texts() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"),
            ("a = '?' AND b = ?", "a = '?' AND b = $1"),
            ("a = 'it''s ?' AND b = ?", "a = 'it''s ?' AND b = $1"),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }

    proptest! {
        #[test]
        fn texts_come_back_and_sort_as_they_did(
            a in "[\\x00-\\x03aé]{0,6}",
            b in "[\\x00-\\x03aé]{0,6}",
        ) {
            let (kept_a, kept_b) = (without_nul(&a), without_nul(&b));
            prop_assert_eq!(with_nul(&kept_a), a.as_str());
            prop_assert_eq!(kept_a.contains('\0'), false);
            prop_assert_eq!(kept_a.cmp(&kept_b), a.cmp(&b));
        }
    }
}
