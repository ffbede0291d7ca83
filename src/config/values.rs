//! The numbers, durations and words of the file: how each is read, written back and described to editors. A value that
//! exists is within its limits.

use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::json;

use super::duration::{self, Bad};
use super::mapping::Sets;
use super::read::{At, Read, Reader};
use super::scalar::Scalar;
use super::suggest::Known;
use super::tree::NodeKind;
use crate::target::pool::{Auth, Mode};
use crate::target::{IdlePolicy, Role};

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

/// `${NAME}` may stand wherever a value may: the schema must not call it wrong.
pub const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// A single value of the file; [`value!`] makes it readable, describes it in the schema and lets it set a field.
pub trait Value: Sized {
    /// What the file should hold, as in "expected …".
    const EXPECTED: &'static str;
    /// The value of a text that is not empty, or what is wrong with it.
    fn parse(text: &Scalar) -> Result<Self, String>;
    /// The value in a file of that folder, where relative paths start.
    fn within(self, _folder: &Path) -> Self {
        self
    }
    fn schema() -> serde_json::Value;
}

macro_rules! value {
    ($type:ty => $field:ty $(, $($generics:tt)*)?) => {
        $crate::config::values::value!($type $(, $($generics)*)?);

        impl$(<$($generics)*>)? $crate::config::mapping::Sets<$field> for $type {
            fn set(&self, field: &mut $field) {
                field.clone_from(&self.0);
            }

            fn of(field: &$field) -> Option<Self> {
                Some(Self(field.to_owned()))
            }
        }
    };
    ($type:ty $(, $($generics:tt)*)?) => {
        impl$(<$($generics)*>)? $crate::config::read::Read for $type {
            fn read(
                at: &$crate::config::read::At<'_>,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> Option<Self> {
                use $crate::config::values::Value;
                let value = reader.single(at, <Self as Value>::EXPECTED, <Self as Value>::parse)?;
                Some(value.within(reader.folder()))
            }
        }

        impl$(<$($generics)*>)? schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                std::any::type_name::<Self>().into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let schema = <Self as $crate::config::values::Value>::schema();
                schemars::Schema::try_from(schema).unwrap_or_default()
            }
        }
    };
}
pub(super) use value;

/// A duration from `MIN` to `MAX` milliseconds, in whole steps of `STEP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64, const STEP: u64 = 1>(pub Duration);

value!(Span<MIN, MAX, STEP> => Duration, const MIN: u64, const MAX: u64, const STEP: u64);

impl<const MIN: u64, const MAX: u64, const STEP: u64> Span<MIN, MAX, STEP> {
    fn range() -> String {
        let text = |millis| duration::format(Duration::from_millis(millis));
        let whole = if STEP == SECOND { ", in whole seconds" } else { "" };
        format!("{} to {}{whole}", text(MIN), text(MAX))
    }
}

impl<const MIN: u64, const MAX: u64, const STEP: u64> Value for Span<MIN, MAX, STEP> {
    const EXPECTED: &'static str = "a duration such as 30s";

    fn parse(text: &Scalar) -> Result<Self, String> {
        match duration::parse(text.trimmed()) {
            Ok(span) => {
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                if (MIN..=MAX).contains(&millis) && millis % STEP == 0 {
                    return Ok(Span(span));
                }
                Err(format!("{} is out of range: take {}", text.shown(), Self::range()))
            }
            Err(_) if is_off(text.trimmed()) => {
                Err(format!("this cannot be switched off: take {}", Self::range()))
            }
            Err(Bad::TooLong) => Err(format!("{} is out of range: take {}", text.shown(), Self::range())),
            Err(bad) => Err(format!("{} {bad}", text.shown())),
        }
    }

    fn schema() -> serde_json::Value {
        json!({
            "title": format!("duration, {}", Self::range()),
            "type": "string",
            "minLength": 1,
            "pattern": format!("{}|{VARIABLE}", duration::PATTERN),
        })
    }
}

impl<const MIN: u64, const MAX: u64, const STEP: u64> Serialize for Span<MIN, MAX, STEP> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format(self.0))
    }
}

/// What can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<T> {
    Off,
    On(T),
}

/// `off`, which YAML 1.1 tools rewrite as `false`.
fn is_off(text: &str) -> bool {
    ["off", "false"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

impl<T: Read> Read for Switch<T> {
    const NULL_IS_ABSENT: bool = T::NULL_IS_ABSENT;

    fn read(at: &At<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let before = reader.problems.len();
        if let NodeKind::Scalar { .. } = &at.node.kind {
            let text = reader.text(at, "a value or off")?;
            if is_off(text.trimmed()) {
                return Some(Switch::Off);
            }
        }
        let value = T::read(at, reader).map(Switch::On);
        for problem in reader.problems[before..].iter_mut().filter(|p| p.path == at.path) {
            problem.message.push_str(", or off");
        }
        value
    }

    fn keys() -> Vec<Known> {
        T::keys()
    }
}

/// What can be switched off is an `Option`. Where `defaults` switched it off, a key inside of it switches it on.
impl<T: Sets<F>, F: Default> Sets<Option<F>> for Switch<T> {
    fn set(&self, field: &mut Option<F>) {
        match self {
            Switch::Off => *field = None,
            Switch::On(key) => key.set(field.get_or_insert_default()),
        }
    }

    fn of(field: &Option<F>) -> Option<Self> {
        match field {
            None => Some(Switch::Off),
            Some(value) => T::of(value).map(Switch::On),
        }
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Switch::Off => serializer.serialize_str("off"),
            Switch::On(value) => value.serialize(serializer),
        }
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Switch<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{} or off", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let on = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [on, { "enum": ["off", false] }] })
    }
}

/// A whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Whole<const MIN: u32, const MAX: u32>(pub u32);

value!(Whole<MIN, MAX> => u32, const MIN: u32, const MAX: u32);

impl<const MIN: u32, const MAX: u32> Value for Whole<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let number: i128 = text
            .trimmed()
            .parse()
            .map_err(|_| format!("{} is not a whole number: take {MIN} to {MAX}", text.shown()))?;
        text.unquoted()?;
        match u32::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Whole(number)),
            _ => Err(format!("{} is out of range: take {MIN} to {MAX}", text.shown())),
        }
    }

    fn schema() -> serde_json::Value {
        or_variable(json!({ "type": "integer", "minimum": MIN, "maximum": MAX }))
    }
}

/// A share from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share(pub f64);

value!(Share => f64);

impl Value for Share {
    const EXPECTED: &'static str = "a number from 0 to 1";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let decimal = text.trimmed().bytes().all(|b| b.is_ascii_digit() || b == b'.');
        match text.trimmed().parse::<f64>() {
            Ok(share) if decimal && (0.0..=1.0).contains(&share) => text.unquoted().map(|()| Share(share)),
            Ok(_) | Err(_) => Err(format!("{} is not {}", text.shown(), Self::EXPECTED)),
        }
    }

    fn schema() -> serde_json::Value {
        or_variable(json!({ "type": "number", "minimum": 0, "maximum": 1 }))
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Flag(pub bool);

value!(Flag => bool);

impl Value for Flag {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &Scalar) -> Result<Self, String> {
        let value = match text.trimmed() {
            "true" | "True" | "TRUE" => true,
            "false" | "False" | "FALSE" => false,
            _ => return Err(format!("{} is not {}", text.shown(), Self::EXPECTED)),
        };
        text.unquoted().map(|()| Flag(value))
    }

    fn schema() -> serde_json::Value {
        or_variable(json!({ "type": "boolean" }))
    }
}

/// Declares how a closed set of the lower layers is read, written and described.
macro_rules! words {
    ($name:ident of $type:ident: $($variant:ident)*, $expected:literal) => {
        #[doc = concat!("`", stringify!($type), "` as the file names it.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $type);

        value!($name => $type);

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &Scalar) -> Result<Self, String> {
                let found = [$($type::$variant),*].into_iter().find(|v| v.as_str() == text.trimmed());
                found.map($name).ok_or_else(|| format!("{} is not known: take {}", text.shown(), $expected))
            }

            fn schema() -> serde_json::Value {
                or_variable(json!({ "enum": [$($type::$variant.as_str()),*] }))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.as_str())
            }
        }
    };
}

words!(IdlePolicyWord of IdlePolicy: KeepAwake LetSleep, "keep_awake or let_sleep");
words!(RoleWord of Role: Any Primary Standby, "any, primary or standby");
words!(ModeWord of Mode: Transaction Session, "transaction or session");
words!(AuthWord of Auth: Scram Trust, "scram or trust");

fn or_variable(schema: serde_json::Value) -> serde_json::Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": VARIABLE }] })
}
