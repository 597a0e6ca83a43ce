//! What of an event a viewer sees: made once per event and distinct projection.

use std::sync::Arc;

use bytes::Bytes;
use clickstream_engine::{FilterError, Projection};
use clickstream_wire::Match;

use super::{Event, Time};

/// A projection, shared by all viewers that asked for the same fields.
#[derive(Debug)]
pub(crate) struct View {
    fields: Option<(String, Projection)>,
}

impl View {
    /// `fields`: comma separated paths; none is the whole event.
    pub(crate) fn parse(fields: Option<&str>) -> Result<Self, FilterError> {
        let fields = fields.map(|text| Ok((text.to_owned(), Projection::parse(text)?)));
        Ok(Self {
            fields: fields.transpose()?,
        })
    }

    fn same(&self, other: &Self) -> bool {
        match (&self.fields, &other.fields) {
            (Some((a, _)), Some((b, _))) => a == b,
            (None, None) => true,
            _ => false,
        }
    }

    fn apply(&self, whole: &Bytes) -> Bytes {
        let Some((_, projection)) = &self.fields else {
            return whole.clone();
        };
        // Workers send JSON objects only. Should one be none, showing nothing of it is the safe way.
        projection
            .apply(whole)
            .map_or(Bytes::from_static(b"{}"), Bytes::from)
    }
}

/// One match record on its way to viewers.
pub(crate) struct Encoder<'a> {
    record: &'a Match<'a>,
    value: &'a [u8],
    whole: Option<Bytes>,
    views: Vec<(Arc<View>, Arc<Event>)>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(record: &'a Match<'a>, value: &'a [u8]) -> Self {
        Self {
            record,
            value,
            whole: None,
            views: Vec::new(),
        }
    }

    /// The event as `view` sees it.
    pub(crate) fn event(&mut self, view: &Arc<View>) -> &Arc<Event> {
        let known = self.views.iter().position(|(other, _)| other.same(view));
        let position = known.unwrap_or_else(|| {
            let event = Arc::new(self.encode(view));
            self.views.push((Arc::clone(view), event));
            self.views.len() - 1
        });
        &self.views[position].1
    }

    fn encode(&mut self, view: &View) -> Event {
        let too_large = self.record.flags.too_large;
        let source = &self.record.source;
        let whole = self
            .whole
            .get_or_insert_with(|| Bytes::copy_from_slice(self.value));
        Event {
            source: format!("{}/{}/{}", source.topic, source.partition, source.offset),
            time: Time(source.timestamp_ms),
            body: if too_large {
                Bytes::from_static(b"null")
            } else {
                view.apply(whole)
            },
            too_large,
        }
    }
}
