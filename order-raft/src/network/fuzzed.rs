//! Everything that a peer's connection can bring, to the side that answers and to the side that calls.

mod snapshots;

use bytes::BytesMut;
use openraft::{
    EntryPayload,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tokio_util::codec::Decoder;

use super::{
    client::append_item,
    frame::{self, Answer, Call, Channel, FrameCodec, Hello, HelloReply, LeaderLost, Request, Response, SnapshotOffer},
};
use crate::{
    fuzzed::{again, entries, equal_again, log_id, members, selected, with_selector},
    raft_types::{LogId, RaftId, SnapshotMeta, StoredMembership, TypeConfig, Vote},
    snapshot_dir::SnapshotFile,
};

pub(crate) use snapshots::{snapshot_seeds, snapshots};

/// Whole connections of both sides, then single messages, so that a message is reached without a fitting length.
const KINDS: usize = 6;

/// What the first byte chooses arrives from a peer.
pub(crate) fn peer_messages(bytes: &[u8]) -> bool {
    let Some((kind, received)) = selected(bytes, KINDS) else { return false };
    match kind {
        0 => connection(received, hello, request),
        1 => connection(received, reply, response),
        2 => hello(received),
        3 => reply(received),
        4 => request(received),
        _ => response(received),
    }
}

/// A connection: a first message, then others. It ends at the first one that is refused.
fn connection(received: &[u8], first: impl Fn(&[u8]) -> bool, later: impl Fn(&[u8]) -> bool) -> bool {
    let Some((piece, stream)) = received.split_first() else { return false };
    let mut taken = false;
    let in_pieces = frames(stream, usize::from(*piece).max(1), |position, frame| {
        taken = if position == 0 { first(frame) } else { later(frame) };
        taken
    });
    let at_once =
        frames(stream, stream.len().max(1), |position, frame| if position == 0 { first(frame) } else { later(frame) });
    assert_eq!(in_pieces, at_once, "the frames depend on the pieces in which they arrive");
    taken
}

/// The frames of a stream that arrives in pieces, up to the first one that is not taken. They are copies: one that is kept
/// would keep the buffer that it arrived in.
fn frames(stream: &[u8], piece: usize, mut take: impl FnMut(usize, &[u8]) -> bool) -> Vec<Vec<u8>> {
    let (mut codec, mut buffer, mut found) = (FrameCodec::for_hello(), BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(frame)) = codec.decode(&mut buffer) {
            if found.is_empty() {
                codec.allow_large();
            }
            let is_taken = take(found.len(), &frame);
            found.push(frame.to_vec());
            if !is_taken {
                return found;
            }
        }
    }
    found
}

fn hello(frame: &[u8]) -> bool {
    equal_again::<Hello>(frame).is_some()
}

fn reply(frame: &[u8]) -> bool {
    equal_again::<HelloReply>(frame).is_some()
}

fn request(frame: &[u8]) -> bool {
    let Some(Request { call, .. }) = again::<Request>(frame) else { return false };
    if let Call::Append(append) = call {
        for entry in append.entries {
            if let EntryPayload::Normal(command) = entry.payload
                && let Ok(decoded) = command.decode()
            {
                assert_eq!(crate::raft_types::LogCommand::encode(&decoded).decode().expect("just encoded"), decoded);
            }
        }
    }
    true
}

/// Whatever a peer answers to an append, in whatever place of the log that was.
fn response(frame: &[u8]) -> bool {
    let Some(Response { answer, .. }) = again::<Response>(frame) else { return false };
    if let Ok(Answer::Append(answer)) = answer {
        let places: [(Option<LogId>, Option<LogId>); 3] =
            [(None, None), (None, Some(log_id(2, 7))), (Some(log_id(2, 7)), Some(log_id(2, 9)))];
        for (previous, last) in places {
            let answer: AppendEntriesResponse<TypeConfig> = answer.clone();
            let (item, whole) = append_item(answer, previous, last);
            assert!(
                !whole || item.is_ok_and(|taken| taken == Ok(last)),
                "an append counts as whole only if it was taken"
            );
        }
    }
    true
}

fn vote() -> Vote {
    Vote::new_committed(3, RaftId::founding(1))
}

fn meta() -> SnapshotMeta {
    let last_membership = StoredMembership::new(Some(log_id(1, 0)), members());
    SnapshotMeta { last_log_id: Some(log_id(2, 7)), last_membership }
}

fn calls() -> Vec<Call> {
    let append = |entries| AppendEntriesRequest {
        vote: vote(),
        prev_log_id: Some(log_id(1, 1)),
        entries,
        leader_commit: Some(log_id(1, 1)),
    };
    let mut transferred = VoteRequest::new(Vote::new(4, RaftId::founding(2)), Some(log_id(2, 7)));
    transferred.leadership_transfer = true;
    let files = vec![SnapshotFile { name: "CURRENT".into(), bytes: 16, crc32: 7 }];
    vec![
        Call::Append(append(Vec::new())),
        Call::Append(append(entries())),
        Call::Vote(transferred.clone()),
        Call::PreVote(transferred),
        Call::TransferLeader(TransferLeaderRequest::new(vote(), RaftId::founding(2), Some(log_id(2, 7)))),
        Call::SnapshotBegin(Box::new(SnapshotOffer { vote: vote(), meta: meta(), files })),
        Call::SnapshotChunk(b"MANIFEST-000005\n".as_slice().into()),
        Call::SnapshotEnd,
        Call::LeaderLost(vote()),
    ]
}

fn answers() -> Vec<Result<Answer, String>> {
    vec![
        Ok(Answer::Append(AppendEntriesResponse::Success)),
        Ok(Answer::Append(AppendEntriesResponse::PartialSuccess(Some(log_id(2, 8))))),
        Ok(Answer::Append(AppendEntriesResponse::Conflict)),
        Ok(Answer::Append(AppendEntriesResponse::HigherVote(vote()))),
        Ok(Answer::Vote(VoteResponse::new(vote(), Some(log_id(2, 7)), true))),
        Ok(Answer::TransferLeader(TransferLeaderResponse::Ok(()))),
        Ok(Answer::TransferLeader(Err(TransferLeaderError::VoteChanged { expected: vote(), actual: vote() }))),
        Ok(Answer::SnapshotTaken),
        Ok(Answer::SnapshotInstalled(SnapshotResponse::new(vote()))),
        Ok(Answer::LeaderLost(LeaderLost { agrees: true, last_log_id: Some(log_id(2, 7)) })),
        Err("the replica is stopping".into()),
    ]
}

fn framed(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).expect("small");
    [&length.to_be_bytes(), record].concat()
}

/// A whole connection of each side, and every message alone.
pub(crate) fn peer_message_seeds() -> Vec<Vec<u8>> {
    let hello = Hello {
        cluster_id: "bazaar-0123456789abcdef".into(),
        from: RaftId::founding(1),
        to: RaftId { replica: 2, life: 0xabcd },
        channel: Channel::Calls,
    };
    let hello = frame::encode(&hello).to_vec();
    let welcome = frame::encode(&HelloReply::Welcome).to_vec();
    let refused = frame::encode(&HelloReply::Refused("wrong cluster".into())).to_vec();
    let requests = calls().into_iter().zip(1..).map(|(call, id)| frame::encode(&Request { id, call }).to_vec());
    let requests: Vec<Vec<u8>> = requests.collect();
    let responses = answers().into_iter().zip(1..);
    let responses: Vec<Vec<u8>> =
        responses.map(|(answer, id)| frame::encode(&Response { id, answer }).to_vec()).collect();
    let stream = |first: &Vec<u8>, later: &[Vec<u8>]| {
        let frames: Vec<u8> = [first].into_iter().chain(later).flat_map(|record| framed(record)).collect();
        [&[7][..], &frames].concat()
    };
    let mut seeds = vec![with_selector(0, &stream(&hello, &requests)), with_selector(1, &stream(&welcome, &responses))];
    let singles = [(2, vec![hello]), (3, vec![welcome, refused]), (4, requests), (5, responses)];
    for (kind, records) in singles {
        seeds.extend(records.iter().map(|record| with_selector(kind, record)));
    }
    seeds
}
