//! The parameters of a request, read as the types that handlers want.
//!
//! Booleans in any case, integers as decimal text, flat lists (`Path.1`, `Filters.1.Values.2`, in any order, with gaps)
//! and the same lists as JSON text, where `[]` means absent because one SDK sends it for members nobody set. Unknown
//! parameters are ignored. An empty scalar is an absent one; [`Params::given`] tells the two apart.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::ApiError;
use crate::pairs::Pair;

/// Largest index of a flat list that is believed.
const MAX_INDEX: u32 = 10_000;
/// Deepest nesting that a JSON parameter may have where it is turned into flat parameters.
const MAX_DEPTH: u32 = 8;

/// Parameters by name, or the part of them below a prefix such as `Filters.1.`.
#[derive(Debug, Clone, Default)]
pub struct Params {
    prefix: String,
    values: BTreeMap<String, String>,
}

impl Params {
    /// Takes decoded pairs; of two with one name the last one stays (the border refuses those before).
    #[must_use]
    pub fn new(pairs: Vec<Pair>) -> Self {
        Self {
            prefix: String::new(),
            values: pairs.into_iter().collect(),
        }
    }

    /// All parameters, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Full name of a parameter, for messages.
    #[must_use]
    pub fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Index of this member in its list; 0 if it is not one.
    #[must_use]
    pub fn index(&self) -> usize {
        let path = self.prefix.trim_end_matches('.');
        path.rsplit('.')
            .next()
            .and_then(|last| last.parse().ok())
            .unwrap_or(0)
    }

    /// A text that is there and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|text| !text.is_empty())
    }

    /// A text that is there, possibly empty.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// True if a scalar, a list or an object of that name is there and not empty.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let start = format!("{name}.");
        self.text(name)
            .is_some_and(|text| !matches!(text.trim(), "[]" | "{}" | "null"))
            || self
                .values
                .range(start.clone()..)
                .next()
                .is_some_and(|(key, _)| key.starts_with(&start))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// `Missing<Name>`.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)
            .ok_or_else(|| ApiError::missing(&self.full_name(name)))
    }

    /// A text read as `T`.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>` with the reason of the parser.
    pub fn parsed<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|why| ApiError::invalid(&self.full_name(name), why))
            })
            .transpose()
    }

    /// A decimal integer.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>`.
    pub fn int(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name)
            .map(|text| {
                text.trim().parse().map_err(|_| {
                    ApiError::invalid(&self.full_name(name), "it must be a decimal integer")
                })
            })
            .transpose()
    }

    /// A decimal integer in a range.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>`.
    pub fn int_in(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        match self.int(name)? {
            Some(value) if !range.contains(&value) => Err(ApiError::invalid(
                &self.full_name(name),
                format!("it must be from {} to {}", range.start(), range.end()),
            )),
            other => Ok(other),
        }
    }

    /// `true` or `false` in any case.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>`.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name).map(str::trim) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::invalid(
                &self.full_name(name),
                "it must be true or false",
            )),
        }
    }

    /// A JSON value in one parameter.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>` if it is not JSON.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ApiError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let value: Value = serde_json::from_str(text).map_err(|why| {
            ApiError::invalid(&self.full_name(name), format!("it must be JSON: {why}"))
        })?;
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// A list of texts: `Name.1`, `Name.2`, …, or a JSON array in `Name`. Absent and `[]` are both empty.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>` for indices that are no numbers or too large, and for members that are not scalars.
    pub fn list(&self, name: &str) -> Result<Vec<String>, ApiError> {
        self.objects(name)?
            .into_iter()
            .map(|member| match member.values.get("") {
                Some(text) if member.values.len() == 1 => Ok(text.clone()),
                _ => Err(ApiError::invalid(
                    member.prefix.trim_end_matches('.'),
                    "it must be a text, not an object",
                )),
            })
            .collect()
    }

    /// A list of objects, in order: the parameters below `Name.1.`, `Name.2.`, …, or those of a JSON array in `Name`.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>` for indices that are no numbers or too large, and for text that is not a JSON array.
    pub fn objects(&self, name: &str) -> Result<Vec<Params>, ApiError> {
        let start = format!("{name}.");
        let mut members: BTreeMap<u32, Params> = BTreeMap::new();
        for (key, value) in self
            .values
            .range(start.clone()..)
            .take_while(|(key, _)| key.starts_with(&start))
        {
            let rest = &key[start.len()..];
            let (index_text, field) = rest.split_once('.').unwrap_or((rest, ""));
            let index = self.parse_index(name, index_text)?;
            self.member(&mut members, name, index)
                .values
                .insert(field.to_owned(), value.clone());
        }
        if members.is_empty() {
            self.json_members(name, &mut members)?;
        }
        Ok(members.into_values().collect())
    }

    /// An object: the parameters below `Name.`, or those of a JSON object in `Name`. Empty if it is absent.
    ///
    /// # Errors
    /// `InvalidParameter.<Name>` for text that is not a JSON object, or one that is nested too deeply.
    pub fn object(&self, name: &str) -> Result<Params, ApiError> {
        let start = format!("{name}.");
        let mut object = Params {
            prefix: format!("{}{start}", self.prefix),
            values: self
                .values
                .range(start.clone()..)
                .take_while(|(key, _)| key.starts_with(&start))
                .map(|(key, value)| (key[start.len()..].to_owned(), value.clone()))
                .collect(),
        };
        if object.values.is_empty()
            && let Some(json) = self.json(name)?
        {
            let bad = |why: &str| ApiError::invalid(&self.full_name(name), why);
            if !json.is_object() {
                return Err(bad("it must be a JSON object"));
            }
            flatten("", &json, 0, &mut object.values)
                .ok_or_else(|| bad("it is nested too deeply"))?;
        }
        Ok(object)
    }

    fn parse_index(&self, name: &str, text: &str) -> Result<u32, ApiError> {
        index_of(text).ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            ApiError::invalid(
                &self.full_name(name),
                format!("{shown:?} is not an index of a list"),
            )
        })
    }

    fn member<'m>(
        &self,
        members: &'m mut BTreeMap<u32, Params>,
        name: &str,
        index: u32,
    ) -> &'m mut Params {
        members.entry(index).or_insert_with(|| Params {
            prefix: format!("{}{name}.{index}.", self.prefix),
            values: BTreeMap::new(),
        })
    }

    fn json_members(
        &self,
        name: &str,
        members: &mut BTreeMap<u32, Params>,
    ) -> Result<(), ApiError> {
        let Some(json) = self.json(name)? else {
            return Ok(());
        };
        let bad = |why: &str| ApiError::invalid(&self.full_name(name), why);
        let Value::Array(list) = json else {
            return Err(bad("it must be a JSON array"));
        };
        if list.len() > MAX_INDEX as usize {
            return Err(bad("the list is too long"));
        }
        for (index, value) in (1..).zip(list) {
            let member = self.member(members, name, index);
            flatten("", &value, 0, &mut member.values)
                .ok_or_else(|| bad("it is nested too deeply"))?;
        }
        Ok(())
    }
}

/// The index of a member of a flat list that a part of a name is.
fn index_of(text: &str) -> Option<u32> {
    let plain =
        !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|index| *index <= MAX_INDEX)
}

/// Whether a part of a name is the index of a member of a flat list.
pub(crate) fn is_index(text: &str) -> bool {
    index_of(text).is_some()
}

/// Turns JSON into flat parameters: `{"Key":"a","Values":["b"]}` to `Key=a`, `Values.1=b`. `None` if it is too deep.
fn flatten(
    path: &str,
    value: &Value,
    depth: u32,
    into: &mut BTreeMap<String, String>,
) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Null => {}
        Value::Bool(flag) => drop(into.insert(path.to_owned(), flag.to_string())),
        Value::Number(number) => drop(into.insert(path.to_owned(), number.to_string())),
        Value::String(text) => drop(into.insert(path.to_owned(), text.clone())),
        Value::Array(list) => {
            for (index, member) in (1..).zip(list) {
                let index: u32 = index;
                flatten(&below(&index.to_string()), member, depth + 1, into)?;
            }
        }
        Value::Object(fields) => {
            for (name, member) in fields {
                flatten(&below(name), member, depth + 1, into)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::Params;
    use crate::pairs::decode;

    fn params(query: &str) -> Params {
        Params::new(decode(query.as_bytes()).unwrap())
    }

    #[test]
    fn scalars() {
        let params = params("A=True&B=false&C=x&D=12&E=&F=-1&G= 7 &H=99999999999999999999");
        assert_eq!(params.boolean("A").unwrap(), Some(true));
        assert_eq!(params.boolean("B").unwrap(), Some(false));
        assert_eq!(params.boolean("C").unwrap_err().code, "InvalidParameter.C");
        assert_eq!(params.boolean("Z").unwrap(), None);
        assert_eq!(params.int("D").unwrap(), Some(12));
        assert_eq!(params.int("E").unwrap(), None);
        assert_eq!(params.int("G").unwrap(), Some(7));
        assert_eq!(params.int("H").unwrap_err().code, "InvalidParameter.H");
        assert_eq!(
            params.int_in("F", 0..=5).unwrap_err().code,
            "InvalidParameter.F"
        );
        assert_eq!(params.required("E").unwrap_err().code, "MissingE");
        assert_eq!((params.text("E"), params.given("E")), (None, Some("")));
    }

    #[test]
    fn objects_of_their_own() {
        for query in ["O.A=1&O.B.C=x&Ox=2", "O={\"A\":1,\"B\":{\"C\":\"x\"}}"] {
            let object = params(query).object("O").unwrap();
            assert_eq!(object.int("A").unwrap(), Some(1), "{query}");
            assert_eq!(object.object("B").unwrap().text("C"), Some("x"), "{query}");
            assert_eq!(object.full_name("A"), "O.A");
        }
        assert!(params("").object("O").unwrap().text("A").is_none());
        for query in ["O=[]x", "O=[1]", "O=x"] {
            assert_eq!(
                params(query).object("O").unwrap_err().code,
                "InvalidParameter.O",
                "{query}"
            );
        }
    }

    #[test]
    fn lists_in_every_form() {
        let flat = params("P.2=b&P.1=a&P.10=c&Px.1=no");
        assert_eq!(flat.list("P").unwrap(), ["a", "b", "c"]);
        for (query, expected) in [
            ("P=[\"a\",\"b\"]", &["a", "b"][..]),
            ("P=[\"a\",+1, true]", &["a", "1", "true"][..]),
            ("P=[]", &[]),
            ("P=null", &[]),
            ("P=", &[]),
            ("", &[]),
        ] {
            assert_eq!(params(query).list("P").unwrap(), expected, "{query}");
        }
        for query in [
            "P.x=1",
            "P.=1",
            "P.99999=1",
            "P.1.K=1",
            "P={}",
            "P=x",
            "P=[{\"a\":1}]",
            "P=[[1]]",
            "P.-1=a",
        ] {
            assert_eq!(
                params(query).list("P").unwrap_err().code,
                "InvalidParameter.P",
                "{query}"
            );
        }
        let deep = format!("P=[{}{}]", "[".repeat(40), "]".repeat(40));
        assert!(params(&deep).list("P").is_err());
    }

    #[test]
    fn objects_flat_and_as_json() {
        let flat = params("F.1.Key=a&F.1.Values.2=y&F.1.Values.1=x&F.2.Key=b");
        let json =
            params("F=[{\"Key\":\"a\",\"Values\":[\"x\",\"y\"]},{\"Key\":\"b\",\"Values\":null}]");
        for source in [flat, json] {
            let members = source.objects("F").unwrap();
            assert_eq!(members.len(), 2);
            assert_eq!(members[0].text("Key"), Some("a"));
            assert_eq!(members[0].list("Values").unwrap(), ["x", "y"]);
            assert_eq!(members[1].full_name("Key"), "F.2.Key");
            assert!(members[1].list("Values").unwrap().is_empty());
        }
    }
}
