//! What statements are given: numbers, texts and bytes, borrowed where they are.

/// A value that is kept until its statement runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// A value as it goes to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Param<'a> {
    /// None.
    Null,
    /// A number; a flag is 0 or 1.
    Integer(i64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// What can be bound to a `?`.
pub(crate) trait ToParam {
    /// The value as the database gets it.
    fn to_param(&self) -> Param<'_>;
}

impl ToParam for Value {
    fn to_param(&self) -> Param<'_> {
        match self {
            Self::Integer(number) => Param::Integer(*number),
            Self::Text(text) => Param::Text(text),
        }
    }
}

impl ToParam for str {
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for String {
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for [u8] {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for Vec<u8> {
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for i64 {
    fn to_param(&self) -> Param<'_> {
        Param::Integer(*self)
    }
}

impl ToParam for i32 {
    fn to_param(&self) -> Param<'_> {
        Param::Integer(i64::from(*self))
    }
}

impl ToParam for u32 {
    fn to_param(&self) -> Param<'_> {
        Param::Integer(i64::from(*self))
    }
}

impl ToParam for bool {
    fn to_param(&self) -> Param<'_> {
        Param::Integer(i64::from(*self))
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null, ToParam::to_param)
    }
}

/// The values of a statement, in the order of its `?`.
pub(crate) trait Params {
    /// Calls `run` with them.
    fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T;
}

impl Params for &[&dyn ToParam] {
    fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T {
        run(&self
            .iter()
            .map(|value| value.to_param())
            .collect::<Vec<_>>())
    }
}

impl Params for &[Value] {
    fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T {
        run(&self.iter().map(ToParam::to_param).collect::<Vec<_>>())
    }
}

impl Params for &[Param<'_>] {
    fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T {
        run(self)
    }
}

/// No values: `[]`.
impl Params for [&dyn ToParam; 0] {
    fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T {
        run(&[])
    }
}

/// Values of one kind: `[a, b]`. An empty list has no kind, so each length is named.
macro_rules! lists {
    ($($length:literal)+) => {
        $(impl<V: ToParam> Params for [V; $length] {
            fn with_params<T>(&self, run: impl FnOnce(&[Param<'_>]) -> T) -> T {
                run(&self.each_ref().map(ToParam::to_param))
            }
        })+
    };
}

lists!(1 2 3 4 5 6 7 8);

/// Values of several kinds.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::sql::ToParam),*] as &[&dyn $crate::sql::ToParam]
    };
}

pub(crate) use params;
