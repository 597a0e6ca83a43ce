//! Cutting fields out of an event, or off it, without reading the rest.

use crate::error::{FilterError, FilterErrorKind, Span};
use crate::json::Reader;
use crate::limits;
use crate::path::FieldPath;
use crate::record::Unreadable;

/// The fields of an event that a viewer wants.
///
/// What is cut keeps its order, its nesting and its spelling (`1.50` stays `1.50`); white space between is not
/// kept. A path that leads into a list applies to each of its elements; one that is absent leaves nothing.
#[derive(Clone, Debug)]
pub struct Projection(Paths);

impl Projection {
    /// Reads paths with commas between: `user_id, page.path, items.price`.
    ///
    /// # Errors
    /// [`FilterErrorKind::Path`] at the path that cannot be read, [`FilterErrorKind::Limit`] for more than
    /// [`limits::MAX_PATHS`] paths or [`limits::MAX_PATHS_BYTES`] bytes.
    ///
    /// ```
    /// let fields = clickstream_engine::Projection::parse("id,items.price")?;
    /// let event = br#"{"id": 7, "user": "u1", "items": [{"sku": "a", "price": 1.50}, {"sku": "b"}]}"#;
    /// assert_eq!(fields.apply(event).unwrap(), br#"{"id":7,"items":[{"price":1.50},{}]}"#);
    /// # Ok::<(), clickstream_engine::FilterError>(())
    /// ```
    pub fn parse(fields: &str) -> Result<Self, FilterError> {
        let mut paths = Paths::default();
        let mut start = 0;
        let mut quoted = false;
        let commas = fields.char_indices().filter_map(|(at, char)| {
            quoted ^= char == '`';
            (char == ',' && !quoted).then_some(at)
        });
        for end in commas.chain([fields.len()]) {
            let span = Span::new(start, end);
            paths.add(FieldPath::parse_at(fields, span)?, fields, span)?;
            start = end + 1;
        }
        Ok(Self(paths))
    }

    /// The wanted fields of the JSON object `value`, as a JSON object.
    ///
    /// Only what leads to the fields is validated; the rest is passed over by its brackets and quotes.
    ///
    /// # Errors
    /// When `value` is no JSON object as far as it is looked at.
    pub fn apply(&self, value: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut out = String::new();
        let mut reader = object(value)?;
        cut(&mut reader, &self.0, &mut out, 0)?;
        reader.end()?;
        Ok(out.into_bytes())
    }
}

/// Fields that leave an event before anybody sees it.
///
/// A path that leads into a list applies to each of its elements. Names are compared as they read, not as
/// they are spelled, so an escape hides nothing; of repeated names all are removed.
#[derive(Clone, Debug, Default)]
pub struct Mask(Paths);

impl Mask {
    /// Reads paths, one each.
    ///
    /// # Errors
    /// As [`Projection::parse`]; the offset counts in the path concerned.
    pub fn parse<S: AsRef<str>>(paths: &[S]) -> Result<Self, FilterError> {
        let mut mask = Paths::default();
        for path in paths {
            let path = path.as_ref();
            mask.add(FieldPath::parse(path)?, path, Span::new(0, path.len()))?;
        }
        Ok(Self(mask))
    }

    /// Whether it removes nothing, so that there is no need to apply it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.children.is_empty()
    }

    /// The JSON object `value` without the masked fields; unchanged to the byte if it has none of them.
    ///
    /// # Errors
    /// When `value` is no JSON object as far as it is looked at; it must not be passed on then.
    pub fn apply(&self, value: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut out = String::with_capacity(value.len());
        let mut reader = object(value)?;
        let cut_off = strip(&mut reader, &self.0, &mut out, 0)?;
        reader.end()?;
        Ok(if cut_off {
            out.into_bytes()
        } else {
            value.to_vec()
        })
    }
}

/// Paths by their names, outermost first.
#[derive(Clone, Debug, Default)]
struct Paths {
    children: Vec<(Box<str>, Paths)>,
    /// A path ends here; those below it say nothing more.
    whole: bool,
    count: usize,
    bytes: usize,
}

impl Paths {
    /// Adds the path that stands at `span` of `text`.
    fn add(&mut self, path: FieldPath, text: &str, span: Span) -> Result<(), FilterError> {
        self.count += 1;
        self.bytes += span.end - span.start;
        if self.count > limits::MAX_PATHS || self.bytes > limits::MAX_PATHS_BYTES {
            let message = format!(
                "more than {} paths, or {} bytes",
                limits::MAX_PATHS,
                limits::MAX_PATHS_BYTES
            );
            return Err(FilterError::new(
                FilterErrorKind::Limit,
                text,
                span,
                message,
            ));
        }
        let mut node = self;
        for name in path.segments() {
            let at = match node.children.iter().position(|(child, _)| **child == *name) {
                Some(at) => at,
                None => {
                    node.children.push((name.into(), Paths::default()));
                    node.children.len() - 1
                }
            };
            node = &mut node.children[at].1;
        }
        node.whole = true;
        Ok(())
    }

    fn child(&self, name: &str) -> Option<&Paths> {
        self.children
            .iter()
            .find(|(child, _)| **child == *name)
            .map(|(_, paths)| paths)
    }
}

/// A reader at the `{` of an object.
fn object(value: &[u8]) -> Result<Reader<'_>, Unreadable> {
    let mut reader = Reader::new(value)?;
    if reader.peek() == Some(b'{') {
        Ok(reader)
    } else {
        Err(Unreadable::NotAnObject)
    }
}

/// Lists take no name of a path, so that the depth of paths does not bound the recursion.
fn deeper(depth: usize) -> Result<usize, Unreadable> {
    if depth < limits::MAX_EVENT_DEPTH {
        Ok(depth + 1)
    } else {
        Err(Unreadable::TooDeep)
    }
}

/// Writes what `paths` want of the next value; whether there was anything.
fn cut(
    reader: &mut Reader<'_>,
    paths: &Paths,
    out: &mut String,
    depth: usize,
) -> Result<bool, Unreadable> {
    if paths.whole {
        out.push_str(reader.skip()?);
        return Ok(true);
    }
    let mut found = false;
    match reader.peek() {
        Some(b'{') => {
            let depth = deeper(depth)?;
            out.push('{');
            reader.members(|reader, spelled, key| {
                let Some(paths) = paths.child(&key) else {
                    return reader.skip().map(drop);
                };
                let before = out.len();
                out.push_str(if found { "," } else { "" });
                out.push_str(spelled);
                out.push(':');
                if cut(reader, paths, out, depth)? {
                    found = true;
                } else {
                    out.truncate(before);
                }
                Ok(())
            })?;
            out.push('}');
        }
        Some(b'[') => {
            let depth = deeper(depth)?;
            out.push('[');
            let mut first = true;
            reader.elements(|reader| match reader.peek() {
                // Elements stay where they are, so that several paths into one list stay in step.
                Some(b'{' | b'[') => {
                    out.push_str(if first { "" } else { "," });
                    first = false;
                    found |= cut(reader, paths, out, depth)?;
                    Ok(())
                }
                _ => reader.skip().map(drop),
            })?;
            out.push(']');
        }
        _ => {
            reader.skip()?;
        }
    }
    Ok(found)
}

/// Writes the next value without what `paths` name; whether anything was cut off.
fn strip(
    reader: &mut Reader<'_>,
    paths: &Paths,
    out: &mut String,
    depth: usize,
) -> Result<bool, Unreadable> {
    let mut cut_off = false;
    match reader.peek() {
        Some(b'{') => {
            let depth = deeper(depth)?;
            out.push('{');
            let mut first = true;
            reader.members(|reader, spelled, key| {
                let child = paths.child(&key);
                if child.is_some_and(|paths| paths.whole) {
                    cut_off = true;
                    return reader.skip().map(drop);
                }
                out.push_str(if first { "" } else { "," });
                first = false;
                out.push_str(spelled);
                out.push(':');
                match child {
                    Some(paths) => cut_off |= strip(reader, paths, out, depth)?,
                    None => out.push_str(reader.skip()?),
                }
                Ok(())
            })?;
            out.push('}');
        }
        Some(b'[') => {
            let depth = deeper(depth)?;
            out.push('[');
            let mut first = true;
            reader.elements(|reader| {
                out.push_str(if first { "" } else { "," });
                first = false;
                cut_off |= strip(reader, paths, out, depth)?;
                Ok(())
            })?;
            out.push(']');
        }
        _ => out.push_str(reader.skip()?),
    }
    Ok(cut_off)
}
