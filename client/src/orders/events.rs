//! Server-sent events, as far as a stream of orders needs them: pure, fed with whatever pieces the network brings.

/// Longest line that is taken; an order takes less than a kilobyte.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Its kind; empty if none was given.
    pub kind: String,
    /// What it carries.
    pub data: String,
}

/// Reads events from pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: Vec<u8>,
    event: Event,
    /// The line before ended with a carriage return: a line feed now belongs to it.
    after_return: bool,
}

impl Reader {
    /// Takes a piece; returns the events that it completes.
    ///
    /// # Errors
    /// If a line is too long to be one of an order.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        for byte in piece {
            let ends = matches!(byte, b'\r') || (*byte == b'\n' && !self.after_return);
            let swallowed = *byte == b'\n' && self.after_return;
            self.after_return = *byte == b'\r';
            if ends {
                events.extend(self.end_line());
            } else if !swallowed {
                self.line.push(*byte);
            }
            if self.line.len() > LINE_BYTES_MAX {
                return Err(format!("a line of the stream is longer than {LINE_BYTES_MAX} bytes"));
            }
        }
        Ok(events)
    }

    /// A line is over. An empty one ends the event.
    fn end_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "data" if self.event.data.is_empty() => value.clone_into(&mut self.event.data),
            "data" => self.event.data = format!("{}\n{value}", self.event.data),
            // A comment has no name; the number of an order is in its data too, and how soon to come back is our affair.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, LINE_BYTES_MAX, Reader};

    const STREAM: &str = ": keep-alive\n\nevent: order\nid: 7\ndata: {\"number\":7}\n\nevent: order\r\ndata:a\r\ndata: b\r\n\r\nid: 9\n\n";

    fn expected() -> Vec<Event> {
        let event = |data: &str| Event { kind: "order".into(), data: data.into() };
        vec![event("{\"number\":7}"), event("a\nb")]
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut reader = Reader::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let events: Vec<Event> = pieces.flat_map(|piece| reader.take(piece).unwrap()).collect();
            assert_eq!(events, expected(), "pieces of {size} bytes");
        }
    }

    #[test]
    fn an_event_without_its_end_is_not_there_and_an_endless_line_is_an_error() {
        let mut reader = Reader::default();
        assert_eq!(reader.take(b"data: half").unwrap(), []);
        assert!(reader.take(&[b'x'; LINE_BYTES_MAX + 1]).is_err());
    }
}
