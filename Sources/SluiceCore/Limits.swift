/// Every limit of Sluice: its name, its number, and what it stops.
///
/// The tidy test holds each line against the table of limits in `Protocol/protocol.md`.
package enum Limits {
    /// Bytes of one frame, its header left out; stops a length field from naming our memory.
    package static let frameBytesMax = 1_048_576
    /// Bytes of the smallest max_frame that a client may name: a full write window fits into it.
    package static let frameBytesMin = 131_072
    /// Bytes of the longest HELLO; stops strangers who say nothing at length.
    package static let helloBytesMax = 4_096
    /// Bytes of one record with its 4-byte head; leaves room for the frame's and the run's headers.
    package static let eventBytesMax = 1_048_000
    /// Bytes of a record's key.
    package static let keyBytesMax = 1_024
    /// Bytes of a record's block of headers.
    package static let headersBytesMax = 65_535
    /// Bytes of a topic's name; names are UTF-8 without spaces, control and invisible ones.
    package static let topicNameBytesMax = 200
    /// Bytes of a group's name; the same characters as a topic's.
    package static let groupNameBytesMax = 200
    /// Bytes of the name that a connection or a link gives itself.
    package static let clientNameBytesMax = 200
    /// Bytes of the text in a CLOSE.
    package static let reasonBytesMax = 512
    /// Bytes of the credential in a HELLO.
    package static let authBytesMax = 1_024
    /// Bytes of the token that names a session.
    package static let sessionTokenBytes = 16
    /// Runs in one EVENTS frame; stops a frame of empty bookkeeping.
    package static let runsPerFrameMax = 4_096
    /// Ranges in one SETTLE frame.
    package static let settleRangesMax = 1_024
    /// Open links of one connection.
    package static let linksPerConnectionMax = 10_000
    /// Connections of one broker, and the default of its switch.
    package static let connectionsMax = 65_536
    /// Topics of one broker; beyond half of it an address makes at most half of the rest.
    package static let topicsMax = 100_000
    /// Milliseconds for which a topic that an OPEN made is kept while nobody uses it, by default.
    package static let topicLingerMilliseconds = 600_000
    /// Groups of one topic; each holds what its members have not seen.
    package static let groupsPerTopicMax = 1_000
    /// Members that claim one partition.
    package static let partitionOwnersMax = 64
    /// Seconds for which a group with a name is kept without a member, unless its topic says other.
    package static let groupExpireAfterSecondsDefault = 86_400
    /// Seconds of the longest time that a topic may say.
    package static let groupExpireAfterSecondsMax = 31_536_000
    /// How full a topic is for a group when its document says so.
    package static let topicAlarmPercent = 80
    /// Groups that end in one step as nobody came back to them.
    package static let groupsExpiredPerStepMax = 16
    /// Partitions of one group.
    package static let partitionsMax: UInt16 = 1_024
    /// Events that are looked through for one that a member with credit accepts.
    package static let lookAheadEventsMax: UInt64 = 1_024
    /// Bytes that count for each stretch that waits in a lane, beside those of its records.
    package static let laneItemBytes: UInt64 = 64
    /// Events for each unit of weight that a member of a fair group is given in its turn.
    package static let fairTurnEvents: UInt64 = 16
    /// Bytes of a filter in its encoded form.
    package static let filterBytesMax = 4_096
    /// Levels of a filter's tree; stops a recursion without end.
    package static let filterDepthMax = 16
    /// Conditions of a filter and values of its sets: what an event may cost to judge.
    package static let filterPartsMax = 256
    /// Conditions and values of the filters of a group's members together: for one event all of
    /// them may have to be judged.
    package static let filterPartsPerGroupMax = 32_768
    /// Values of one header's name that a filter looks at.
    package static let headerValuesMax = 16
    /// Marks that a topic keeps for its groups, and each end of a link until they are received.
    package static let marksMax = 1_024
    /// Bytes of the text of a marker.
    package static let markerBytesMax = 1_024
    /// Events that one link may have asked for and not received.
    package static let demandMax: UInt64 = 1_048_576
    /// Bytes that one link may have asked for and not received.
    package static let demandBytesMax: UInt64 = 1_073_741_824
    /// Events that a topic's producers may hold as grants together.
    package static let grantWindowEvents: UInt64 = 65_536
    /// Bytes that a topic's producers may hold as grants together.
    package static let grantWindowBytes: UInt64 = 4_194_304
    /// Seconds for which a grant to an announced backlog may lie unused while others wait.
    package static let announcedGrantSecondsMax = 5
    /// Milliseconds for which a grant may lie unused that no announced backlog has a use for.
    package static let idleGrantMilliseconds: UInt64 = 500
    /// The same for the next grants of a producer whose last one went back unused.
    package static let lapsedGrantMilliseconds: UInt64 = 200
    /// Events granted to each producer that announced nothing, out of `ahead` only.
    package static let idleGrantEvents: UInt64 = 4
    /// Events a topic's producers may be granted beyond what consumers want, by default.
    package static let bufferEventsDefault: UInt64 = 10_000
    /// Bytes a topic may hold, by default.
    package static let bufferBytesDefault: UInt64 = 67_108_864
    /// Events of the largest buffer that a topic may be given.
    package static let bufferEventsMax: UInt64 = 1_000_000_000
    /// Bytes of the largest buffer that a topic may be given.
    package static let bufferBytesMax: UInt64 = 1_099_511_627_776
    /// Bytes of events that one link may have in its connection's write queue.
    package static let writeWindowBytes = 65_536
    /// A link's write window while the kernel has room for all links of its connection at once.
    package static let writeBurstBytes = 262_144
    /// The same for a link whose events cross between shards, while the kernel takes as much.
    package static let crossingBurstBytes = 1_048_576
    /// Bytes of events in all write queues of a loop; above it a link's window shrinks.
    package static let writeLoopBytesMax = 8_388_608
    /// A link's write window once `writeLoopBytesMax` is reached.
    package static let writeWindowBytesTight = 4_096
    /// Bytes of replies in a connection's write queue; above it the connection is not read.
    package static let replyBytesMax = 65_536
    /// Bytes of one receive slab.
    package static let receiveSlabBytes = 262_144
    /// Bytes that a producer's connection brought in its last turn, for it to be read late.
    package static let lateReadBytesMin = 32_768
    /// Events that wait for every group of a topic, for its producers to be read late.
    package static let lateReadHighEvents: UInt64 = 2_048
    /// Events that wait for one of the groups, below which they are read again.
    package static let lateReadLowEvents: UInt64 = 1_024
    /// Milliseconds after which they are read again whatever waits.
    package static let lateReadMilliseconds = 5
    /// Receive slabs that a loop keeps for reuse when nobody holds them.
    package static let slabsKeptMax = 16
    /// Bytes of a link's write window that the announcement of a gap takes.
    package static let gapWindowBytes = 64
    /// Bytes of one segment of a topic's own memory.
    package static let segmentBytes = 16_384
    /// Bytes of all unfinished frames for which a loop keeps memory at one time.
    package static let assemblyLoopBytesMax = 33_554_432
    /// Bytes that each of them counts at least.
    package static let assemblyFrameBytesMin = 8_192
    /// Bytes that frames have brought for which there is no memory yet; above it their connections
    /// go.
    package static let assemblyWaitingBytesMax = 8_388_608
    /// Receive slabs of a loop that may hold unfinished frames alone.
    package static let slabsUnfinishedMax = 16
    /// Seconds in which an unfinished frame has to come on.
    package static let assemblySecondsMax = 10
    /// Bytes that it has to bring in each of them on average, or its rest.
    package static let assemblyBytesPerSecondMin = 1_024
    /// Milliseconds without a sixteenth of the frame after which it loses its memory if another
    /// waits.
    package static let assemblyStallMilliseconds: UInt64 = 20
    /// The same for a connection that has brought as many bytes before in whole frames.
    package static let assemblyProvenStallMilliseconds: UInt64 = 1_000
    /// Bytes that an event counts in the memory of the broker beside its record: the entry of its
    /// run.
    package static let memoryEntryBytes: UInt64 = 64
    /// The same for each delivery, gap or mark that a consumer's link keeps until it is received.
    package static let memoryLinkEntryBytes: UInt64 = 48
    /// The same for each link that a topic has or had at one time.
    package static let memoryLinkBytes: UInt64 = 1_536
    /// The same for a group.
    package static let memoryGroupBytes: UInt64 = 1_024
    /// The same for a partition of a group, whether or not something waits in it.
    package static let memoryPartitionBytes: UInt64 = 8
    /// The same for a partition in which something waits, and for what waits apart for members
    /// that choose.
    package static let memoryLaneBytes: UInt64 = 256
    /// The same for a topic.
    package static let memoryTopicBytes: UInt64 = 3_072
    /// The same for a connection, over HTTP, for a session and for each link of one.
    package static let memoryConnectionBytes = 3_072
    package static let memoryHttpConnectionBytes = 24_576
    package static let memorySessionBytes = 1_024
    package static let memorySessionLinkBytes = 320
    /// The same for each event loop: what it keeps for reading and writing.
    package static let memoryLoopBytes = 12_582_912
    /// The least that a broker may be told to take.
    package static let memoryLimitMin = 67_108_864
    /// Milliseconds after its last event in which a producer counts as one that sends: the
    /// producers of another address hold at most half of the grants then.
    package static let ownerRivalMilliseconds: UInt64 = 1_000
    /// Microseconds that the commands or requests of one connection may take at once, and the
    /// commands of all in one turn of a loop; what is left over runs in the next.
    package static let commandSliceMicroseconds: UInt64 = 500
    package static let commandTurnMicroseconds: UInt64 = 2_000
    /// Microseconds in a turn of a loop for connections that have much to read; those that have
    /// little come first, and what is left over is read in the next turn.
    package static let pourTurnMicroseconds: UInt64 = 2_000
    /// Effects of one step of a topic; what is left over runs in the next turn.
    package static let effectsPerStepMax = 256
    /// Events sorted, lanes looked at and conditions judged in one step, and in one turn of a
    /// loop; what is left over runs in the next.
    package static let workPerStepMax = 32_768
    /// Deliveries, and as many gaps, that a link remembers until they are known to be received.
    package static let cutRangesMax = 4_096
    /// Event loops that one broker spreads its topics over.
    package static let shardsMax = 64
    /// Messages of one shard's clients under way to another; at half of it they go on.
    package static let exchangeMessagesMax = 4_096
    /// Milliseconds that a rate lets gather before it lets the next events pass.
    package static let rateWaitMilliseconds: UInt64 = 5
    /// Milliseconds that a SETTLE may wait for something else to be written with.
    package static let settleWaitMilliseconds = 5
    /// Seconds between signs of life, by default.
    package static let keepaliveSecondsDefault = 10
    /// Seconds of the longest keepalive that may be agreed.
    package static let keepaliveSecondsMax = 3_600
    /// Silent keepalives after which a connection is dead.
    package static let keepalivesMissedMax = 2
    /// Seconds a connection has to say a whole HELLO.
    package static let helloSecondsMax = 5
    /// Milliseconds for which the session of a lost connection is kept.
    package static let resumeWindowMilliseconds = 30_000
    /// Sessions kept without a connection; above it the address that has most loses its newest.
    package static let detachedSessionsMax = 10_000
    /// Milliseconds after which a client may come back to a broker that said GOING_AWAY.
    package static let goingAwayRetryMilliseconds = 1_000
    /// Clients a second that are asked back to a broker that sent them away.
    package static let returnsPerSecondMax = 1_000
    /// Milliseconds over which their return is spread at most.
    package static let retrySpreadMillisecondsMax = 30_000
    /// Seconds a stopping broker goes on delivering what has credit.
    package static let drainSecondsMax = 5
    /// HTTP connections of one broker.
    package static let httpConnectionsMax = 10_000
    /// Bytes of the headers of one request, 32 more for each; above it is 431.
    package static let httpHeadersBytesMax = 16_384
    /// Headers of one HTTP/1.1 request.
    package static let httpHeadersMax = 128
    /// Bytes of one request's body; above it is 413.
    package static let httpBodyBytesMax = 4_194_304
    /// Bytes of all requests that are held until they are complete or have credit; above it is 503.
    package static let httpBodiesBytesMax = 67_108_864
    /// Seconds in which a connection has to bring its first request, or the rest of one it began.
    package static let httpHeadSecondsMax = 5
    /// Seconds for which a connection without a request is kept.
    package static let httpIdleSecondsMax = 60
    /// Bytes of a body that have to come in each second, after the first few: those of a head.
    package static let httpBodyBytesPerSecondMin = 1_024
    /// Seconds for which an answer that waits for its client may not move.
    package static let httpStallSecondsMax = 3
    /// Bytes that a connection is read in one turn until it has brought something.
    package static let httpFirstBytesMax = 1_024
    /// Bytes of requests in a row, and of small frames of HTTP/2, that are taken in at once.
    package static let httpRequestsBytesMax = 4_096
    /// Requests that connections with several in a row are given in one turn, all of them together.
    package static let httpRowRequestsPerTurnMax = 16
    /// Of one body of events, in a turn.
    package static let httpReadEventsPerTurnMax = 128
    /// The same, in bytes.
    package static let httpReadBytesPerTurnMax = 65_536
    /// Microseconds that the requests of all connections may take in one turn of a loop, and as
    /// many that their answers may take to be written.
    package static let httpTurnMicroseconds: UInt64 = 1_000
    /// Bytes that a connection takes from its answers at once.
    package static let httpWriteBytes = 65_536
    /// Bytes that a connection's kernel buffer takes beyond what it may send at once.
    package static let httpUnsentBytesMax = 16_384
    /// Seconds of the longest wait that a request may ask for.
    package static let httpWaitSecondsMax = 300
    /// Milliseconds that a request waits for credit at least, so that a grant can come.
    package static let httpWaitMillisecondsMin = 50
    /// Seconds for which the link that brings requests' events to a topic is kept unused.
    package static let httpIntakeIdleSeconds = 5
    /// Events of one request: what a topic that knows nothing of their size grants; above it is
    /// 413.
    package static let batchEventsMax = 4_096
    /// Events of a stream that may be on their way, by default.
    package static let streamDemandDefault = 100
    /// Seconds of silence after which Server-Sent Events say a word without meaning.
    package static let streamBeatSeconds = 15
    /// Milliseconds between two looks at what a client of HTTP has acknowledged, while others wait
    /// for its partitions: at first, and at most.
    package static let arrivalPauseMillisecondsMin = 5
    package static let arrivalPauseMillisecondsMax = 100
    /// Exchanges of one HTTP/2 connection at one time.
    package static let http2StreamsMax = 128
    /// Bytes of one request's body that may be on their way.
    package static let http2WindowBytes = 65_536
    /// Bytes of all bodies of a connection that may be on their way.
    package static let http2ConnectionWindowBytes = 1_048_576
    /// Bytes of frames that are taken in at once while they are bodies for the most part.
    package static let http2InputBytesMax = 16_384
    /// Bytes of the table of headers, in either direction.
    package static let http2TableBytesMax = 4_096
    /// CONTINUATION frames behind one HEADERS.
    package static let http2ContinuationsMax = 8
    /// Settings in one SETTINGS frame.
    package static let http2SettingsMax = 32
    /// Answers to PING and SETTINGS that wait to be written.
    package static let http2AcksMax = 100
    /// Streams that a client may reset at once after a rest.
    package static let http2ResetsMax: UInt64 = 100
    /// Streams that a client may reset in each second.
    package static let http2ResetsPerSecond: UInt64 = 5
    /// Frames a second that bring nothing: PING, SETTINGS, PRIORITY, resets, empty DATA.
    package static let http2IdleFramesPerSecond = 100
    /// As many more for each DATA frame that is not empty, in either direction.
    package static let http2IdleFramesPerUseful = 10
    /// Such frames that a connection may have earned.
    package static let http2IdleFramesMax = 1_000
    /// Bytes that are passed over behind the last word to a client that broke the protocol.
    package static let http2LingerBytesMax = 65_536
    /// Bytes of one frame that a client sends on a WebSocket; a larger message is sent as several.
    package static let webSocketFrameBytesMax = 65_536
    /// Bytes of one message that the broker sends on a WebSocket.
    package static let webSocketChunkBytes = 16_384
    /// Bytes of one message of a gRPC client.
    package static let grpcMessageBytesMax = 4_194_304
    /// Bytes of records in one message to a gRPC client, but for an event that is larger.
    package static let grpcBatchBytes = 65_536
    /// Seconds of a deadline that gRPC may set; above it there is none.
    package static let grpcTimeoutSecondsMax = 31_536_000
    /// Answers to a gRPC producer that wait to be taken before it may bring more.
    package static let grpcConfirmsMax = 1_024
    /// Topics in one answer to a gRPC client.
    package static let grpcTopicsMax = 1_000
    /// Topics that metrics tell of one by one.
    package static let metricsTopicsMax = 1_000
    /// Seconds of the longest time that is waited for or told: some 31 years, to add to a clock.
    package static let timeSecondsMax = 1_000_000_000
    /// Groups that metrics tell of one by one; the others of a topic are added up.
    package static let metricsGroupsMax = 10_000
    /// Bytes of topics in one answer to a gRPC client, about: a page may end before it is full.
    package static let grpcTopicsBytesMax = 1_048_576
    /// Bytes of a document in a list of `$sys`; what does not fit is left out, and counted.
    package static let documentBytesMax = 130_000
    /// Groups that a topic's document in the list of topics tells of.
    package static let documentGroupsMax = 256
    /// Partitions that a topic's document tells of, those of all its groups together.
    package static let documentPartitionsMax = 8_192
    /// Milliseconds from one round of a list of `$sys` to the next, of the longest lists.
    package static let statsRoundMilliseconds: UInt64 = 1_000
    /// Bytes of rendered documents that a shard keeps for others who read the same list.
    package static let statsCacheBytesMax = 16_777_216
    /// Questions about the broker that a shard has the others answer at one time.
    package static let statsGathersMax = 16
    /// Bytes of rendered documents that wait for credit in bytes, of one shard.
    package static let keptDocumentsBytesMax = 8_388_608
    /// Contexts that the span of a batch names.
    package static let spanLinksMax = 128
}
