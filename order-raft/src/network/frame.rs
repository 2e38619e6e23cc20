//! The frames: a length of four bytes, then a record.

use std::{io, time::Duration};

use bazaar_domain::codec;
use bazaar_service::tls::Stream;
use bytes::{Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder, Framed, LengthDelimitedCodec};

use crate::{
    raft_types::{LogId, RaftId, SnapshotMeta, TypeConfig, Vote},
    snapshot_dir::SnapshotFile,
};

/// Largest frame between replicas that have greeted each other.
pub(super) const PEER_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest frame before that.
pub(super) const HELLO_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the length before a frame.
const LENGTH_BYTES: usize = 4;
/// Room that is made for a frame of which little has arrived; after that as much again as is there.
const ROOM_BYTES: usize = 256 * 1024;
/// An idle connection is probed after this time, so that one to a machine that lost power does not stay for ever.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// Time between two probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Channel {
    /// Calls that are answered in their order.
    Calls,
    /// One snapshot.
    Snapshot,
}

/// The first frame of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) cluster_id: String,
    pub(super) from: RaftId,
    pub(super) to: RaftId,
    pub(super) channel: Channel,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HelloReply {
    Welcome,
    /// Why not; the connection is closed after this.
    Refused(String),
}

/// A numbered call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) call: Call,
}

/// What can be asked of a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Call {
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    SnapshotBegin(Box<SnapshotOffer>),
    /// The next bytes of the offered files, in the order of the manifest; no chunk spans two files.
    SnapshotChunk(Bytes),
    SnapshotEnd,
    /// Whether the peer, too, has lost the leader of this vote.
    LeaderLost(Vote),
}

/// The beginning of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotOffer {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
    pub(super) files: Vec<SnapshotFile>,
}

/// A numbered answer; a text says why the peer could not do what it was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) id: u64,
    pub(super) answer: Result<Answer, String>,
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<TypeConfig>),
    /// To votes and pre-votes.
    Vote(VoteResponse<TypeConfig>),
    TransferLeader(TransferLeaderResponse<TypeConfig>),
    /// The beginning, or a chunk, of a snapshot was taken.
    SnapshotTaken,
    SnapshotInstalled(SnapshotResponse<TypeConfig>),
    LeaderLost(LeaderLost),
}

/// What a peer says about a leader that may be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderLost {
    /// It has lost that leader, too, and has heard of no other.
    pub agrees: bool,
    /// The end of its log.
    pub last_log_id: Option<LogId>,
}

/// A connection that speaks frames.
pub(super) type Frames = Framed<Stream, FrameCodec>;

/// Finds the frames in what arrives, and puts lengths before those that leave.
///
/// A length is only a claim: room for a frame is made as its bytes arrive. Otherwise four bytes could take
/// [`PEER_FRAME_BYTES_MAX`] of memory, on each of many connections.
#[derive(Debug)]
pub(super) struct FrameCodec {
    /// Asked only when a frame is there as a whole, or cannot be one.
    whole: LengthDelimitedCodec,
}

impl FrameCodec {
    /// For frames up to [`HELLO_BYTES_MAX`].
    pub(super) fn for_hello() -> Self {
        Self { whole: LengthDelimitedCodec::builder().max_frame_length(HELLO_BYTES_MAX).new_codec() }
    }

    /// For frames up to [`PEER_FRAME_BYTES_MAX`] from now on.
    pub(super) fn allow_large(&mut self) {
        self.whole.set_max_frame_length(PEER_FRAME_BYTES_MAX);
    }
}

impl Decoder for FrameCodec {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, arrived: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        let Some(length) = arrived.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        let missing = (LENGTH_BYTES + length).saturating_sub(arrived.len());
        if length <= self.whole.max_frame_length() && missing > 0 {
            arrived.reserve(missing.min(arrived.len().max(ROOM_BYTES)));
            return Ok(None);
        }
        self.whole.decode(arrived)
    }
}

impl Encoder<Bytes> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, record: Bytes, leaving: &mut BytesMut) -> io::Result<()> {
        self.whole.encode(record, leaving)
    }
}

/// Prepares a fresh connection.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Nagle's algorithm and delayed acks together stall small messages for 40 ms.
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Frames over a connection: up to [`HELLO_BYTES_MAX`] until [`allow_large`] is called.
pub(super) fn framed(stream: Stream) -> Frames {
    Framed::new(stream, FrameCodec::for_hello())
}

/// Allows frames up to [`PEER_FRAME_BYTES_MAX`], once both sides know who the other is.
pub(super) fn allow_large(frames: &mut Frames) {
    frames.codec_mut().allow_large();
}

/// The frame of a record.
pub(super) fn encode<T: Serialize>(record: &T) -> Bytes {
    codec::encode(record).into()
}

/// The record of a frame.
///
/// # Errors
/// If the frame is not such a record.
pub(super) fn decode<T: DeserializeOwned>(frame: &[u8]) -> io::Result<T> {
    codec::decode(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::{EntryPayload, Membership};

    use super::*;
    use crate::{
        log_store::test_entries::{blank, log_id, normal},
        raft_types::{Member, StoredMembership},
    };

    const FIRST: RaftId = RaftId { replica: 1, life: 0 };
    const SECOND: RaftId = RaftId { replica: 2, life: 7 };

    fn membership() -> Membership<RaftId, Member> {
        let member = Member { peers: "a:1".into(), service: "a:2".into(), admin: "a:3".into() };
        Membership::new(vec![[FIRST].into()], BTreeMap::from([(FIRST, member)])).unwrap()
    }

    fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
        decode(&encode(value)).unwrap()
    }

    #[test]
    fn an_append_with_every_kind_of_entry_survives_the_wire() {
        let mut with_members = blank(2, 4);
        with_members.payload = EntryPayload::Membership(membership());
        let append = AppendEntriesRequest::<TypeConfig> {
            vote: Vote::new_committed(2, FIRST),
            prev_log_id: Some(log_id(1, 1)),
            entries: vec![blank(1, 2), normal(1, 3, 5_000), with_members],
            leader_commit: None,
        };
        let Request { id, call: Call::Append(found) } = again(&Request { id: 9, call: Call::Append(append.clone()) })
        else {
            panic!("another call")
        };
        assert_eq!(
            (id, found.vote, found.prev_log_id, found.leader_commit),
            (9, append.vote, append.prev_log_id, None)
        );
        assert_eq!(found.entries, append.entries);
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut codec = FrameCodec::for_hello();
        codec.allow_large();
        let length = u32::try_from(PEER_FRAME_BYTES_MAX).unwrap();
        let mut arrived = BytesMut::from(&length.to_be_bytes()[..]);
        for bytes in [0, 100_000, 1_000_000] {
            arrived.resize(LENGTH_BYTES + bytes, 0);
            assert!(codec.decode(&mut arrived).unwrap().is_none());
            assert!(arrived.capacity() <= 2 * (ROOM_BYTES + bytes), "{} after {bytes}", arrived.capacity());
        }
    }

    #[test]
    fn frames_are_found_in_whatever_pieces_they_arrive() {
        let records =
            [0, 1, 3, 4, ROOM_BYTES - 4, ROOM_BYTES, 3 * ROOM_BYTES + 1].map(|bytes| Bytes::from(vec![7; bytes]));
        let (mut codec, mut sent) = (FrameCodec::for_hello(), BytesMut::new());
        codec.allow_large();
        for record in &records {
            codec.encode(record.clone(), &mut sent).unwrap();
        }
        for piece in [1_021, 70_001, sent.len()] {
            let (mut arrived, mut found) = (BytesMut::new(), Vec::new());
            for piece in sent.chunks(piece) {
                arrived.extend_from_slice(piece);
                while let Some(frame) = codec.decode(&mut arrived).unwrap() {
                    found.push(frame.freeze());
                }
            }
            assert_eq!(found, records, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_that_may_not_be_so_large_is_refused_at_its_length() {
        let (mut codec, length) = (FrameCodec::for_hello(), u32::try_from(HELLO_BYTES_MAX + 1).unwrap());
        assert!(codec.decode(&mut BytesMut::from(&length.to_be_bytes()[..])).is_err());
        codec.allow_large();
        assert!(codec.decode(&mut BytesMut::from(&length.to_be_bytes()[..])).unwrap().is_none());
        assert!(codec.decode(&mut BytesMut::from(&u32::MAX.to_be_bytes()[..])).is_err());
    }

    #[test]
    fn a_snapshot_offer_survives_the_wire() {
        let last_membership = StoredMembership::new(Some(log_id(1, 0)), membership());
        let offer = SnapshotOffer {
            vote: Vote::new_committed(2, FIRST),
            meta: SnapshotMeta { last_log_id: Some(log_id(1, 7)), last_membership },
            files: vec![SnapshotFile { name: "CURRENT".into(), bytes: 16, crc32: 7 }],
        };
        let found = again(&offer);
        assert_eq!((found.vote, found.meta, found.files), (offer.vote, offer.meta, offer.files));
    }

    #[test]
    fn a_vote_request_of_a_transfer_is_still_one_after_the_wire() {
        let mut request = VoteRequest::<TypeConfig>::new(Vote::new(3, SECOND), Some(log_id(1, 7)));
        request.leadership_transfer = true;
        assert_eq!(again(&request), request);
        let transfer =
            TransferLeaderRequest::<TypeConfig>::new(Vote::new_committed(3, SECOND), FIRST, Some(log_id(1, 7)));
        assert_eq!(again(&transfer), transfer);
    }
}
