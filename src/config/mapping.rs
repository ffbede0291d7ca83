//! How a key of the file and a field of the target belong together: [`mapping!`] makes everything of one row a key, the
//! reader, the known keys, the schema, the text of `config show`, the default, and the field that it sets.

/// A key that sets a field of type `F`.
pub trait Sets<F>: Sized {
    /// Puts the key's value into the field, or lays a mapping's keys over it.
    fn set(&self, field: &mut F);
    /// The key that says what the field holds; `None` where nothing is written for that.
    fn of(field: &F) -> Option<Self>;
}

/// Declares a mapping of the file, one row a key:
///
/// ```text
/// /// What the schema and the reference say of it.
/// name: Type = default,
/// ```
///
/// The type has the limits. Every key is optional here: what is required is checked where it is used. `for` names the
/// type whose fields the keys set, and whose `Default` the defaults are; what these depend on follows in parentheses,
/// and is what `with_defaults` takes. `flatten` takes in the keys of another mapping.
macro_rules! mapping {
    ($(#[$meta:meta])* pub struct $name:ident for $target:ident $rows:tt) => {
        mapping! { $(#[$meta])* pub struct $name $rows }
        $crate::config::mapping::sets! { $name, $target, $rows }

        impl Default for $target {
            fn default() -> Self {
                $crate::config::mapping::defaults! { $target, $rows }
            }
        }
    };
    ($(#[$meta:meta])* pub struct $name:ident for $target:ident ($($given:ident: $of:ty),*) $rows:tt) => {
        mapping! { $(#[$meta])* pub struct $name $rows }
        $crate::config::mapping::sets! { $name, $target, $rows }

        impl $target {
            /// What is in force where the file says nothing else.
            pub fn with_defaults($($given: $of),*) -> Self {
                $crate::config::mapping::defaults! { $target, $rows }
            }
        }
    };
    ($(#[$meta:meta])* pub struct $name:ident $([flatten $flat:ident: $of:ty])? {
        $($(#[$doc:meta])* $field:ident: $type:ty $(= $default:expr)?,)*
    }) => {
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
        $(#[$meta])*
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
            $(#[serde(flatten)] pub $flat: $of,)?
        }

        $crate::config::read::keys!($name { $($field: $type,)* } $($flat: $of)?);
    };
}
pub(super) use mapping;

/// The rows of a mapping as setters of a type's fields, and back.
macro_rules! sets {
    ($name:ident, $target:ident, { $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        impl $crate::config::mapping::Sets<$target> for $name {
            fn set(&self, target: &mut $target) {
                $(if let Some(key) = &self.$field {
                    $crate::config::mapping::Sets::set(key, &mut target.$field);
                })*
            }

            fn of(target: &$target) -> Option<Self> {
                Some($name { $($field: $crate::config::mapping::Sets::of(&target.$field),)* })
            }
        }
    };
}
pub(super) use sets;

/// The rows of a mapping as the value of a type whose fields are all at their defaults.
macro_rules! defaults {
    ($target:ident, { $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $target { $($field: $default,)* }
    };
}
pub(super) use defaults;
