use std::{future, time::Duration};

use bazaar_service::tls::{Connector, Stream};
use futures::{SinkExt, StreamExt, stream};
use openraft::{
    RaftNetworkFactory, Snapshot,
    errors::{RPCError, ReplicationClosed, StreamingError},
    network::{RPCOption, RaftNetworkV2},
    raft::{AppendEntriesResponse, StreamAppendError, TransferLeaderRequest, VoteRequest},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Look, PeerNetwork,
    connection::{CallError, Connection},
    frame::{self, Answer, Call, Channel, HELLO_BYTES_MAX, Hello, HelloReply, PEER_FRAME_BYTES_MAX, SnapshotOffer},
    test_peer::{CLUSTER, SERVER_ID, TestPeer, TestServer, WAIT_MAX, append, eventually, network},
};
use crate::{
    log_store::test_entries::log_id,
    raft_types::{Member, RaftId, SnapshotMeta, StoredMembership, Vote},
    snapshot_dir::{SnapshotDir, SnapshotFile},
};

const FIRST: RaftId = RaftId { replica: 1, life: 0 };

fn option() -> RPCOption {
    RPCOption::new(WAIT_MAX)
}

fn meta() -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id(1, 7)), last_membership: StoredMembership::default() }
}

fn hello(channel: Channel) -> Hello {
    Hello { cluster_id: CLUSTER.into(), from: FIRST, to: SERVER_ID, channel }
}

#[tokio::test]
async fn every_call_gets_its_own_answer() {
    let server = TestServer::start(TestPeer::willing()).await;
    let mut client = server.client().await;
    assert_eq!(client.append_entries(append(5), option()).await.unwrap(), AppendEntriesResponse::Success);
    let request = VoteRequest::new(Vote::new(4, FIRST), None);
    assert!(client.vote(request.clone(), option()).await.unwrap().vote_granted);
    assert!(!client.pre_vote(request, option()).await.unwrap().vote_granted);
}

#[tokio::test]
async fn a_replica_agrees_that_a_leader_is_lost_only_if_it_lost_it_itself() {
    let server = TestServer::start(TestPeer::willing()).await;
    let leader = Vote::new_committed(4, FIRST);
    let mut leaders_client = server.client().await;
    leaders_client.append_entries(append(5), option()).await.unwrap();
    let mut asker = network(CLUSTER);
    let ask = async |asker: &mut PeerNetwork, vote| {
        asker.ask_leader_lost(SERVER_ID, &server.member(), vote, WAIT_MAX).await.unwrap().agrees
    };
    assert!(!ask(&mut asker, leader).await, "the leader is connected");
    let of_a_third = Vote::new_committed(4, RaftId::founding(3));
    assert!(!ask(&mut asker, of_a_third).await, "it follows another leader");
    drop((leaders_client, asker));
    eventually("all connections of replica 1 are closed", || server.sightings.look(FIRST) == Look::Gone).await;
    let mut third = PeerNetwork::new(CLUSTER.into(), RaftId::founding(3), WAIT_MAX);
    assert!(ask(&mut third, leader).await);
}

#[tokio::test]
async fn a_peer_that_cannot_do_what_it_is_asked_says_why() {
    let server = TestServer::start(TestPeer::willing()).await;
    let request = TransferLeaderRequest::new(Vote::new_committed(4, FIRST), SERVER_ID, None);
    let error = server.client().await.transfer_leader(request, option()).await.unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains("the replica is stopping"), "{error}");
}

#[tokio::test]
async fn appends_are_pipelined_and_reach_the_follower_in_order() {
    let peer = TestPeer::holding();
    let server = TestServer::start(peer.clone()).await;
    let mut client = server.client().await;
    let answers = client.stream_append(stream::iter((1..=40).map(append)), option()).await.unwrap();
    let collecting = async { answers.map(|answer| answer.unwrap().unwrap().unwrap().index).collect::<Vec<_>>().await };
    let following = async {
        // Sixteen are under way while none has been answered.
        assert_eq!(peer.wait_for_started(16).await, (1..=16).collect::<Vec<_>>());
        peer.answers.add_permits(40);
        peer.wait_for_started(40).await
    };
    let (answered, started) = tokio::join!(collecting, following);
    assert_eq!(started, (1..=40).collect::<Vec<_>>());
    assert_eq!(answered, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pipeline_ends_behind_a_conflict() {
    let peer = TestPeer { conflict_at: Some(3), ..TestPeer::willing() };
    let server = TestServer::start(peer).await;
    let mut client = server.client().await;
    let input = stream::iter((1..=10).map(append)).chain(stream::pending());
    let answers = client.stream_append(input, option()).await.unwrap();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    let conflict = Err(StreamAppendError::Conflict(log_id(1, 2)));
    assert_eq!(answers, [Ok(Some(log_id(1, 1))), Ok(Some(log_id(1, 2))), conflict]);
}

#[tokio::test]
async fn a_heartbeat_is_not_stuck_behind_appends() {
    let peer = TestPeer::holding();
    let server = TestServer::start(peer.clone()).await;
    let mut network = network(CLUSTER);
    let mut appends = network.new_client(SERVER_ID, &server.member()).await;
    let mut heartbeats = network.new_heartbeat_client(SERVER_ID, &server.member()).await;
    let held = tokio::spawn(async move { appends.append_entries(append(1), option()).await });
    peer.wait_for_started(1).await;
    let heartbeat = heartbeats.append_entries(append(2), option());
    let (answer, started) = tokio::join!(heartbeat, async {
        let started = peer.wait_for_started(2).await;
        peer.answers.add_permits(2);
        started
    });
    assert_eq!((answer.unwrap(), started), (AppendEntriesResponse::Success, vec![1, 2]));
    held.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_cluster_another_replica_and_another_life_refuse_with_the_reason() {
    let server = TestServer::start(TestPeer::willing()).await;
    let cases = [
        ("other-cluster", SERVER_ID, &server, "wrong cluster: this is 'test-cluster', not 'other-cluster'"),
        (CLUSTER, RaftId::founding(3), &server, "this is replica 2, not 3"),
        (CLUSTER, RaftId { replica: 2, life: 7 }, &server, "this is replica 2, not 2/7"),
    ];
    for (cluster, target, server, reason) in cases {
        let mut client = network(cluster).new_client(target, &server.member()).await;
        let error = client.append_entries(append(1), option()).await.unwrap_err();
        assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Member { peers: listener.local_addr().unwrap().to_string(), ..Member::default() };
    drop(listener);
    let mut client = network(CLUSTER).new_client(SERVER_ID, &member).await;
    let error = client.append_entries(append(1), option()).await.unwrap_err();
    assert!(matches!(error, RPCError::Unreachable(_)), "{error:?}");
    let stream = client.stream_append(stream::iter([append(1)]), option()).await;
    assert!(matches!(stream.err().unwrap(), RPCError::Unreachable(_)));
}

#[tokio::test]
async fn a_broken_connection_fails_what_waits_and_the_next_call_connects_again() {
    let peer = TestPeer::holding();
    let server = TestServer::start(peer.clone()).await;
    let (mut client, address) = (server.client().await, server.address);
    let input = stream::iter((1..=3).map(append)).chain(stream::pending());
    let mut answers = client.stream_append(input, option()).await.unwrap();
    let (first, ()) = tokio::join!(answers.next(), async {
        peer.wait_for_started(3).await;
        server.stop().await;
    });
    assert!(matches!(first, Some(Err(RPCError::Network(_)))), "{first:?}");
    assert!(answers.next().await.is_none());
    drop(answers);

    let server = TestServer::start_at(address, TestPeer::willing()).await;
    client.append_entries(append(1), option()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_call_without_an_answer_times_out() {
    let server = TestServer::start(TestPeer::holding()).await;
    let mut network = network(CLUSTER);
    let mut client = network.new_heartbeat_client(SERVER_ID, &server.member()).await;
    let error = client.append_entries(append(1), RPCOption::new(Duration::from_millis(1))).await.unwrap_err();
    assert!(matches!(error, RPCError::Timeout(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_to_a_silent_peer_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Member { peers: listener.local_addr().unwrap().to_string(), ..Member::default() };
    let (accepted, mut count) = tokio::sync::watch::channel(0);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let mut frames = frame::framed(Stream::Plain(stream));
            frames.next().await.unwrap().unwrap();
            frames.send(frame::encode(&HelloReply::Welcome)).await.unwrap();
            open.push(frames);
            accepted.send_modify(|count| *count += 1);
        }
    });
    let mut client = network(CLUSTER).new_heartbeat_client(SERVER_ID, &member).await;
    let calling = async {
        loop {
            client.append_entries(append(1), RPCOption::new(Duration::from_millis(75))).await.unwrap_err();
        }
    };
    tokio::select! {
        () = calling => unreachable!("an endless loop"),
        found = tokio::time::timeout(WAIT_MAX, count.wait_for(|count| *count == 2)) => drop(found.unwrap().unwrap()),
    }
}

#[tokio::test]
async fn frames_over_the_limit_and_bytes_that_are_no_hello_close_the_connection() {
    let server = TestServer::start(TestPeer::willing()).await;
    let too_long_a_hello = u32::try_from(HELLO_BYTES_MAX + 1).unwrap().to_be_bytes();
    for bytes in [&too_long_a_hello[..], b"\0\0\0\x05hello", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        assert_closed(stream).await;
    }
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut frames = frame::framed(Stream::Plain(stream));
    frames.send(frame::encode(&hello(Channel::Calls))).await.unwrap();
    let reply: HelloReply = frame::decode(&frames.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(reply, HelloReply::Welcome);
    let mut stream = frames.into_inner();
    let length = u32::try_from(PEER_FRAME_BYTES_MAX + 1).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    assert_closed(stream).await;
    server.client().await.append_entries(append(1), option()).await.unwrap();
}

async fn assert_closed(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let read = tokio::time::timeout(WAIT_MAX, stream.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

fn snapshot_folder() -> (tempfile::TempDir, SnapshotDir) {
    let folder = tempfile::TempDir::new().unwrap();
    let pattern: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect();
    for (name, content) in [("000012.sst", pattern.as_slice()), ("CURRENT", b"MANIFEST-1\n"), ("empty", b"")] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let dir = SnapshotDir { path: folder.path().to_owned() };
    (folder, dir)
}

#[tokio::test]
async fn a_snapshot_arrives_as_it_was_sent() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let (_folder, dir) = snapshot_folder();
    let vote = Vote::new_committed(3, FIRST);
    let snapshot = Snapshot { meta: meta(), snapshot: dir.clone() };
    let mut client = server.client().await;
    let response = client.full_snapshot(vote, snapshot, future::pending(), option()).await.unwrap();
    assert_eq!(response.vote, vote);
    let installed = std::mem::take(&mut *peer.installed.lock().unwrap());
    let [(found, files)] = installed.as_slice() else { panic!("{} installed", installed.len()) };
    assert_eq!(found, &meta());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["000012.sst", "CURRENT", "empty"]);
    for (name, content) in files {
        assert_eq!(&std::fs::read(dir.path.join(name)).unwrap(), content, "{name}");
    }
    eventually("nothing is left behind", || server.incoming_folders() == 0).await;
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_where_it_lies_is_not_sent_but_fatal() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let (_folder, dir) = snapshot_folder();
    let snapshot = Snapshot { meta: meta(), snapshot: dir };
    let mut network = network(CLUSTER).checking(|path| Err(format!("{} is damaged", path.display())));
    let mut client = network.new_snapshot_client(SERVER_ID, &server.member()).await;
    let sent = client.full_snapshot(Vote::new_committed(3, FIRST), snapshot, future::pending(), option()).await;
    let Err(StreamingError::StorageError(error)) = sent else { panic!("{sent:?}") };
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert!(peer.installed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_that_was_refused_can_be_sent_again_at_once() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let torn = offer(&server).await;
    call(&torn, Call::SnapshotChunk("abXd".into())).await.unwrap();
    call(&torn, Call::SnapshotEnd).await.unwrap_err();
    let again = offer_more(&server).await;
    call(&again, Call::SnapshotChunk("abcd".into())).await.unwrap();
    call(&again, Call::SnapshotEnd).await.unwrap();
    let installed = std::mem::take(&mut *peer.installed.lock().unwrap());
    let [(_, files)] = installed.as_slice() else { panic!("{} installed", installed.len()) };
    assert_eq!(files["file"], b"abcd");
}

#[tokio::test]
async fn a_cancelled_snapshot_is_not_sent() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let (_folder, dir) = snapshot_folder();
    let snapshot = Snapshot { meta: meta(), snapshot: dir };
    let cancel = future::ready(ReplicationClosed::new("no longer the leader"));
    let result = server.client().await.full_snapshot(Vote::new_committed(3, FIRST), snapshot, cancel, option()).await;
    assert!(matches!(result, Err(StreamingError::Closed(_))), "{result:?}");
    assert!(peer.installed.lock().unwrap().is_empty());
}

/// Offers a snapshot of one file with the content `abcd`.
async fn offer(server: &TestServer) -> Connection {
    let connection = offer_more(server).await;
    assert_eq!(server.incoming_folders(), 1);
    connection
}

/// The same while the folder of an earlier one may still be there.
async fn offer_more(server: &TestServer) -> Connection {
    let connection =
        Connection::open(&server.address.to_string(), &hello(Channel::Snapshot), &Connector::default()).await.unwrap();
    let files = vec![SnapshotFile { name: "file".into(), bytes: 4, crc32: crc32fast::hash(b"abcd") }];
    let offer = SnapshotOffer { vote: Vote::new_committed(3, FIRST), meta: meta(), files };
    call(&connection, Call::SnapshotBegin(Box::new(offer))).await.unwrap();
    connection
}

async fn call(connection: &Connection, call: Call) -> Result<Answer, CallError> {
    connection.start(call).await.unwrap().answer(WAIT_MAX).await
}

async fn assert_refused(server: &TestServer, peer: &TestPeer, refused: Result<Answer, CallError>, reason: &str) {
    let error = refused.unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
    eventually("nothing is left behind", || server.incoming_folders() == 0).await;
    assert!(peer.installed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_corrupted_chunk_is_refused_and_leaves_nothing_behind() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let connection = offer(&server).await;
    call(&connection, Call::SnapshotChunk("abXd".into())).await.unwrap();
    let refused = call(&connection, Call::SnapshotEnd).await;
    assert_refused(&server, &peer, refused, "'file' has 4 bytes with checksum").await;
}

#[tokio::test]
async fn a_snapshot_with_too_few_or_too_many_bytes_is_refused() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let connection = offer(&server).await;
    call(&connection, Call::SnapshotChunk("abc".into())).await.unwrap();
    let refused = call(&connection, Call::SnapshotEnd).await;
    assert_refused(&server, &peer, refused, "the transfer ended within 'file'").await;

    let connection = offer(&server).await;
    let refused = call(&connection, Call::SnapshotChunk("abcde".into())).await;
    assert_refused(&server, &peer, refused, "a chunk of 5 bytes where 4 are to come").await;
}

#[tokio::test]
async fn a_torn_transfer_leaves_nothing_behind() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let connection = offer(&server).await;
    call(&connection, Call::SnapshotChunk("ab".into())).await.unwrap();
    drop(connection);
    eventually("nothing is left behind", || server.incoming_folders() == 0).await;
    assert!(peer.installed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_manifest_that_names_a_file_elsewhere_is_refused() {
    let peer = TestPeer::willing();
    let server = TestServer::start(peer.clone()).await;
    let connection =
        Connection::open(&server.address.to_string(), &hello(Channel::Snapshot), &Connector::default()).await.unwrap();
    let files = vec![SnapshotFile { name: "../outside".into(), bytes: 4, crc32: 0 }];
    let offer = SnapshotOffer { vote: Vote::new_committed(3, FIRST), meta: meta(), files };
    let refused = call(&connection, Call::SnapshotBegin(Box::new(offer))).await;
    assert_refused(&server, &peer, refused, "is not the name of a snapshot's file").await;
}

#[tokio::test]
async fn what_an_earlier_process_received_in_part_is_removed_at_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("incoming-7")).unwrap();
    std::fs::write(folder.path().join("incoming-7/file"), b"ab").unwrap();
    super::snapshot_receive::IncomingRoot::new(folder.path().to_owned()).clear().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
