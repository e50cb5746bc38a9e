//! Asks a type what it would read, by way of its `Deserialize`: nothing but its own fields, and no value.

use std::{cell::RefCell, fmt};

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor,
        value::StrDeserializer,
    },
    forward_to_deserialize_any,
};

/// What lies at a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// A table with these settings.
    Struct(&'static [&'static str]),
    /// A table of names that an operator gives.
    Map,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Anything else.
    Leaf,
}

/// Follows a path into a type, and tells what is there.
pub(super) fn find<T: DeserializeOwned>(path: &[&str]) -> Found {
    let found = RefCell::new(None);
    let walked = T::deserialize(Walk { path, found: &found });
    assert!(walked.is_err(), "nothing is ever read");
    let found = found.borrow().clone();
    found.unwrap_or_else(|| panic!("{path:?} leads nowhere"))
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    path: &'a [&'a str],
    found: &'a RefCell<Option<Found>>,
}

/// The walk is over.
#[derive(Debug)]
struct Over;

impl std::error::Error for Over {}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("over")
    }
}

impl serde::de::Error for Over {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Walk<'_> {
    /// Goes on if there is more of the path, and says what is here if not.
    fn enter<'de, V: Visitor<'de>>(self, visitor: V, here: Found) -> Result<V::Value, Over> {
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(here);
            return Err(Over);
        }
        visitor.visit_map(self)
    }
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Over;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Over> {
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(Found::Leaf);
        }
        Err(Over)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        self.enter(visitor, Found::Struct(fields))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        self.enter(visitor, Found::Map)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Over> {
        drop(visitor);
        if self.path.is_empty() {
            *self.found.borrow_mut() = Some(Found::Enum(variants));
        }
        Err(Over)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Over> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Over> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

/// The one entry that the path goes on with.
impl<'de> MapAccess<'de> for Walk<'_> {
    type Error = Over;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Over> {
        let name = self.path.first().ok_or_else(|| Over::custom("no more"))?;
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Over> {
        seed.deserialize(Walk { path: &self.path[1..], found: self.found })
    }
}
