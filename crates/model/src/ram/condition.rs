//! Conditions of a statement: every operator must hold, one of the values of each key suffices.

use std::net::IpAddr;

use super::Request;
use super::document::DocumentError;

/// A condition that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// The source address lies in one of these networks.
    InNetwork(Vec<Network>),
    /// It lies in none of them.
    NotInNetwork(Vec<Network>),
    /// The time of the request compares so with one of these, in UNIX seconds.
    Time(TimeTest, Vec<i64>),
}

/// How times are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeTest {
    /// `DateEquals`
    Equals,
    /// `DateNotEquals`
    NotEquals,
    /// `DateLessThan`
    Less,
    /// `DateLessThanEquals`
    LessOrEqual,
    /// `DateGreaterThan`
    Greater,
    /// `DateGreaterThanEquals`
    GreaterOrEqual,
}

/// An address with the number of its bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `::1` or `2001:db8::/32`.
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(longest);
        (bits <= longest).then_some(Self { address, bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        // A socket that takes both families shows IPv4 inside IPv6.
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl Condition {
    /// Reads the values of one key under one operator.
    pub(super) fn parse(
        operator: &str,
        key: &str,
        values: &[String],
    ) -> Result<Self, DocumentError> {
        let unknown = || DocumentError::Condition {
            operator: operator.to_owned(),
            key: key.to_owned(),
        };
        let bad_value = |value: &String| DocumentError::ConditionValue {
            key: key.to_owned(),
            value: value.clone(),
        };
        if key.eq_ignore_ascii_case("acs:SourceIp") {
            let networks = values
                .iter()
                .map(|value| Network::parse(value).ok_or_else(|| bad_value(value)))
                .collect::<Result<_, _>>()?;
            return match operator {
                "IpAddress" => Ok(Self::InNetwork(networks)),
                "NotIpAddress" => Ok(Self::NotInNetwork(networks)),
                _ => Err(unknown()),
            };
        }
        if key.eq_ignore_ascii_case("acs:CurrentTime") {
            let test = match operator {
                "DateEquals" => TimeTest::Equals,
                "DateNotEquals" => TimeTest::NotEquals,
                "DateLessThan" => TimeTest::Less,
                "DateLessThanEquals" => TimeTest::LessOrEqual,
                "DateGreaterThan" => TimeTest::Greater,
                "DateGreaterThanEquals" => TimeTest::GreaterOrEqual,
                _ => return Err(unknown()),
            };
            let times = values
                .iter()
                .map(|value| {
                    let time: Option<jiff::Timestamp> = value.parse().ok();
                    time.map(jiff::Timestamp::as_second)
                        .ok_or_else(|| bad_value(value))
                })
                .collect::<Result<_, _>>()?;
            return Ok(Self::Time(test, times));
        }
        Err(unknown())
    }

    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let is_in = |networks: &[Network]| {
            networks
                .iter()
                .any(|network| network.holds(request.source_ip))
        };
        match self {
            Self::InNetwork(networks) => is_in(networks),
            Self::NotInNetwork(networks) => !is_in(networks),
            Self::Time(test, times) => {
                let now = request.now.0;
                match test {
                    // Of the negative test every value must differ.
                    TimeTest::NotEquals => times.iter().all(|time| now != *time),
                    TimeTest::Equals => times.contains(&now),
                    TimeTest::Less => times.iter().any(|time| now < *time),
                    TimeTest::LessOrEqual => times.iter().any(|time| now <= *time),
                    TimeTest::Greater => times.iter().any(|time| now > *time),
                    TimeTest::GreaterOrEqual => times.iter().any(|time| now >= *time),
                }
            }
        }
    }
}
