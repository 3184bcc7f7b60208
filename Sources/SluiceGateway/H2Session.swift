import CNghttp2
import SluiceCore

/// HTTP/2 on libnghttp2, without a socket.
///
/// The library's callbacks only note what happened: it is never called from within itself.
package final class H2Session: HTTPSession {
    /// A request and its answer, as long as the library knows the stream.
    fileprivate final class Stream {
        let id: Int32
        var head = RequestHead()
        var headerBytes = 0
        var isTooLarge = false
        var body: ResponseBody = .none
        /// Bytes of the body that were taken.
        var sent = 0
        var isDeferred = false
        var isAnswered = false
        var patience = Patience()

        init(_ id: Int32) { self.id = id }
    }

    private var session: OpaquePointer?
    private var streams: [Int32: Stream] = [:]
    /// The stream that was spoken of last: most of what comes is about that again.
    private var recent: Stream?
    /// The last path, which many requests in a row have in common.
    private var path = ""
    private var events: [HTTPEvent] = []
    /// As many as came at once before: room for those that come next.
    private var eventsBefore = 0
    private var isWinding = false
    private var idleAllowance = IdleAllowance()
    private var isFlooded = false
    /// Bytes of bodies in what is taken in, and whether they were the most of it.
    private var dataBytes = 0
    private var isInBody = false
    /// The code of the last GOAWAY that was written.
    package private(set) var lastError: UInt32 = 0
    /// Set by the owner before it feeds: monotonic nanoseconds.
    package var now: UInt64 = 0
    private var framing = Framing()
    /// Whether a head has begun to come and is not complete.
    package var owesHead: Bool { framing.isInHead }

    package init() throws(HTTPFailure) {
        var callbacks: OpaquePointer?
        var options: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&options) == 0
        else { throw .broken("out of memory") }
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(options)
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
        nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onData)
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onFrameSent)
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)
        // Each is said, whatever the library's default is or becomes.
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_stream_reset_rate_limit(
            options,
            Limits.http2ResetsMax,
            Limits.http2ResetsPerSecond
        )
        nghttp2_option_set_max_continuations(options, Limits.http2ContinuationsMax)
        nghttp2_option_set_max_settings(options, Limits.http2SettingsMax)
        nghttp2_option_set_max_outbound_ack(options, Limits.http2AcksMax)
        nghttp2_option_set_max_reserved_remote_streams(options, 0)
        nghttp2_option_set_max_deflate_dynamic_table_size(options, Limits.http2TableBytesMax)
        nghttp2_option_set_peer_max_concurrent_streams(options, UInt32(Limits.http2StreamsMax))
        nghttp2_option_set_no_closed_streams(options, 1)
        let this = Unmanaged.passUnretained(self).toOpaque()
        guard nghttp2_session_server_new2(&session, callbacks, this, options) == 0 else {
            throw .broken("out of memory")
        }
        submitSettings()
    }

    deinit { nghttp2_session_del(session) }

    private func submitSettings() {
        let settings = [
            setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, Limits.http2StreamsMax),
            setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, Limits.http2WindowBytes),
            setting(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, Limits.httpHeadersBytesMax),
            setting(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, Limits.http2TableBytesMax),
        ]
        let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        nghttp2_submit_settings(session, none, settings, settings.count)
        nghttp2_session_set_local_window_size(
            session,
            none,
            0,
            Int32(Limits.http2ConnectionWindowBytes)
        )
    }

    private func setting(
        _ id: nghttp2_settings_id,
        _ value: Int
    ) -> nghttp2_settings_entry {
        nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(value))
    }

    /// Goes on with a request that came by HTTP/1.1 and asked for the change, as stream 1.
    package func upgrade(
        from head: RequestHead,
        settings: [UInt8]
    ) throws(HTTPFailure) {
        let isHead: Int32 = head.method == "HEAD" ? 1 : 0
        let code = nghttp2_session_upgrade2(session, settings, settings.count, isHead, nil)
        guard code == 0 else { throw .malformed(status: 400, "HTTP2-Settings is malformed") }
        let stream = Stream(1)
        stream.head = head
        streams[1] = stream
        events.append(.request(1, head, isWhole: true))
    }

    package func close() {
        streams = [:]
        recent = nil
        events = []
    }
}

// MARK: - What comes in

extension H2Session {
    package func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure) {
        idleAllowance.refresh(at: now)
        framing.take(bytes)
        events.reserveCapacity(eventsBefore)
        dataBytes = 0
        let count = nghttp2_session_mem_recv(
            session,
            bytes.bindMemory(to: UInt8.self).baseAddress,
            bytes.count
        )
        isInBody = dataBytes >= bytes.count / 2
        if isFlooded {
            nghttp2_session_terminate_session(
                session,
                UInt32(NGHTTP2_ENHANCE_YOUR_CALM.rawValue)
            )
            throw .flood
        }
        guard count != Int(NGHTTP2_ERR_FLOODED.rawValue) else { throw .flood }
        guard count == bytes.count else {
            throw .broken(String(cString: nghttp2_strerror(Int32(clamping: count))))
        }
    }

    package func takeEvents() -> [HTTPEvent] {
        guard !events.isEmpty else { return [] }
        let taken = events
        eventsBefore = taken.count
        events = []
        return taken
    }

    package func took(_ bytes: Int, of stream: Int32) {
        guard bytes > 0 else { return }
        nghttp2_session_consume_stream(session, stream, bytes)
    }

    package var wantsInput: Bool {
        // An answer for each stream and its end: more are refusals, which nothing else bounds.
        let framesMax = 2 * Limits.http2StreamsMax
        return nghttp2_session_want_read(session) != 0
            && nghttp2_session_get_outbound_queue_size(session) < framesMax
    }

    // Requests in a row are work, and bodies are bytes. Who has brought nothing waits for more
    // turns.
    package var inputBytesMax: Int {
        guard idleAllowance.isEarned else { return Limits.httpFirstBytesMax }
        return isInBody ? Limits.http2InputBytesMax : Limits.httpRequestsBytesMax
    }

    package func stalled(at now: UInt64) -> [Int32] {
        streams.values.filter { stream in
            let isWaiting = stream.isAnswered && !stream.isDeferred
            return stream.patience.isOver(isWaiting: isWaiting, moved: stream.sent, at: now)
        }.map(\.id)
    }

    package var isOver: Bool {
        nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
    }

    fileprivate func beginHeaders(_ frame: nghttp2_frame) {
        guard frame.headers.cat == NGHTTP2_HCAT_REQUEST else { return }
        let stream = Stream(frame.hd.stream_id)
        streams[stream.id] = stream
        recent = stream
    }

    private func stream(_ id: Int32) -> Stream? {
        if let recent, recent.id == id { return recent }
        recent = streams[id]
        return recent
    }

    /// Notes a header; false if there is so much of them that the connection has to go.
    fileprivate func header(
        _ id: Int32,
        _ name: UnsafeBufferPointer<UInt8>,
        _ value: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard let stream = stream(id) else { return true }
        // RFC 9113, 10.5.1: each counts 32 bytes beside its own.
        stream.headerBytes += name.count + value.count + 32
        guard stream.headerBytes <= Limits.httpHeadersBytesMax else {
            stream.isTooLarge = true
            return stream.headerBytes <= 4 * Limits.httpHeadersBytesMax
        }
        switch String(decoding: name, as: UTF8.self) {
        case ":method": stream.head.method = String(decoding: value, as: UTF8.self)
        case ":path":
            if !path.utf8.elementsEqual(value) { path = String(decoding: value, as: UTF8.self) }
            stream.head.target = path
        case ":authority": stream.head.authority = String(decoding: value, as: UTF8.self)
        case ":scheme": break
        case let name:
            stream.head.headers.append(Header(name, String(decoding: value, as: UTF8.self)))
        }
        return true
    }

    /// Takes a frame that is complete; false if there are too many that bring nothing.
    fileprivate func frame(_ frame: nghttp2_frame) -> Bool {
        let hasEnded = frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        let id = frame.hd.stream_id
        switch UInt32(frame.hd.type) {
        case NGHTTP2_HEADERS.rawValue:
            guard let stream = stream(id) else { return true }
            guard frame.headers.cat == NGHTTP2_HCAT_REQUEST else {
                if hasEnded { events.append(.end(id)) }
                return true
            }
            if stream.isTooLarge {
                let text = Array("the header list is above its limit\n".utf8)
                respond(to: id, ResponseHead(431), .bytes(text))
            } else {
                events.append(.request(id, stream.head, isWhole: hasEnded))
            }
        case NGHTTP2_DATA.rawValue:
            if hasEnded { events.append(.end(id)) }
            if frame.hd.length == 0, !hasEnded { return countIdle() }
            idleAllowance.earn()
        case NGHTTP2_PING.rawValue, NGHTTP2_SETTINGS.rawValue, NGHTTP2_PRIORITY.rawValue,
            NGHTTP2_RST_STREAM.rawValue:
            return countIdle()
        default: break
        }
        return true
    }

    private func countIdle() -> Bool {
        isFlooded = !idleAllowance.spend()
        return !isFlooded
    }

    fileprivate func data(_ id: Int32, _ bytes: UnsafeBufferPointer<UInt8>) {
        // One stream that is held must not stall the others: its own window bounds what it brings.
        nghttp2_session_consume_connection(session, bytes.count)
        dataBytes += bytes.count
        guard let stream = stream(id), !stream.isTooLarge else { return }
        events.append(.body(id, Array(bytes)))
    }

    fileprivate func closed(_ id: Int32) {
        if recent?.id == id { recent = nil }
        if streams.removeValue(forKey: id) != nil { events.append(.gone(id)) }
    }
}

// MARK: - What goes out

extension H2Session {
    package func respond(to id: Int32, _ head: ResponseHead, _ body: ResponseBody) {
        guard let stream = streams[id], !stream.isAnswered else { return }
        stream.isAnswered = true
        stream.body = stream.head.method == "HEAD" ? .none : body
        let status = [Header(":status", String(head.status))]
        withFields(status + head.headers) { fields in
            if case .none = stream.body {
                nghttp2_submit_response(session, id, fields.baseAddress, fields.count, nil)
                return
            }
            var provider = nghttp2_data_provider()
            provider.source.ptr = Unmanaged.passUnretained(stream).toOpaque()
            provider.read_callback = onRead
            nghttp2_submit_response(session, id, fields.baseAddress, fields.count, &provider)
        }
    }

    /// RFC 9113, 8.1: who is still sending a body that nobody needs is asked to stop, behind the
    /// answer's last frame.
    fileprivate func sent(_ frame: nghttp2_frame) {
        let isData = UInt32(frame.hd.type) == NGHTTP2_DATA.rawValue
        if isData, frame.hd.length > 0 { idleAllowance.earn() }
        if UInt32(frame.hd.type) == NGHTTP2_GOAWAY.rawValue { lastError = frame.goaway.error_code }
        let id = frame.hd.stream_id
        guard frame.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0,
            [NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue].contains(UInt32(frame.hd.type)),
            nghttp2_session_get_stream_remote_close(session, id) == 0
        else { return }
        nghttp2_submit_rst_stream(
            session,
            UInt8(NGHTTP2_FLAG_NONE.rawValue),
            id,
            UInt32(NGHTTP2_NO_ERROR.rawValue)
        )
    }

    /// Ends an answer whose body is given with fields behind it.
    fileprivate func finish(_ id: Int32, with trailers: [Header]) {
        withFields(trailers) { fields in
            nghttp2_submit_trailer(session, id, fields.baseAddress, fields.count)
        }
    }

    /// Lends headers as the library wants them: it copies what it keeps.
    private func withFields(
        _ headers: [Header],
        _ body: (UnsafeBufferPointer<nghttp2_nv>) -> Void
    ) {
        var texts: [UInt8] = []
        texts.reserveCapacity(
            headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        )
        for header in headers {
            texts += header.name.utf8
            texts += header.value.utf8
        }
        texts.withUnsafeMutableBufferPointer { texts in
            var next = texts.baseAddress
            var fields: [nghttp2_nv] = []
            fields.reserveCapacity(headers.count)
            for header in headers {
                let (nameCount, valueCount) = (header.name.utf8.count, header.value.utf8.count)
                fields.append(
                    nghttp2_nv(
                        name: next,
                        value: next.map { $0 + nameCount },
                        namelen: nameCount,
                        valuelen: valueCount,
                        flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)
                    )
                )
                next = next.map { $0 + nameCount + valueCount }
            }
            fields.withUnsafeBufferPointer(body)
        }
    }

    package func resume(_ id: Int32) {
        guard let stream = streams[id], stream.isDeferred else { return }
        stream.isDeferred = false
        nghttp2_session_resume_data(session, id)
    }

    package func abort(_ id: Int32) {
        guard streams[id] != nil else { return }
        nghttp2_submit_rst_stream(
            session,
            UInt8(NGHTTP2_FLAG_NONE.rawValue),
            id,
            UInt32(NGHTTP2_CANCEL.rawValue)
        )
    }

    package func drain(into output: inout [UInt8], upTo limit: Int) {
        while output.count < limit {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &bytes)
            guard count > 0, let bytes else { return }
            output.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        }
    }

    package func wind() {
        guard !isWinding else { return }
        isWinding = true
        nghttp2_submit_goaway(
            session,
            UInt8(NGHTTP2_FLAG_NONE.rawValue),
            nghttp2_session_get_last_proc_stream_id(session),
            UInt32(NGHTTP2_NO_ERROR.rawValue),
            nil,
            0
        )
    }

    /// How much of a stream's answer its client would take now.
    package func window(of id: Int32) -> Int {
        let own = nghttp2_session_get_stream_remote_window_size(session, id)
        return Int(max(0, min(own, nghttp2_session_get_remote_window_size(session))))
    }
}

extension H2Session.Stream {
    /// Gives the library what fits into a frame.
    fileprivate func read(
        into buffer: UnsafeMutableRawBufferPointer,
        _ flags: inout UInt32,
        of session: H2Session?
    ) -> Int {
        switch body {
        case .none: break
        case .bytes(let bytes):
            let count = bytes.copy(from: sent, into: buffer)
            sent += count
            if sent == bytes.count { flags |= NGHTTP2_DATA_FLAG_EOF.rawValue }
            return count
        case .source(let source):
            switch source.read(into: buffer) {
            case .bytes(let count):
                sent += count
                return count
            case .nothingNow:
                isDeferred = true
                return Int(NGHTTP2_ERR_DEFERRED.rawValue)
            case .ended: break
            case .endedWith(let trailers):
                flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                session?.finish(id, with: trailers)
            }
        }
        flags |= NGHTTP2_DATA_FLAG_EOF.rawValue
        return 0
    }
}

// MARK: - Callbacks

// In no actor's context: the library calls them on whichever thread feeds it.
private func session(_ pointer: UnsafeMutableRawPointer?) -> H2Session? {
    pointer.map { Unmanaged<H2Session>.fromOpaque($0).takeUnretainedValue() }
}

private let onBeginHeaders: nghttp2_on_begin_headers_callback = { _, frame, user in
    if let frame { session(user)?.beginHeaders(frame.pointee) }
    return 0
}

private let onHeader: nghttp2_on_header_callback = {
    (_, frame, name, nameCount, value, valueCount, _, user) in
    guard let frame, let session = session(user) else { return 0 }
    let goesOn = session.header(
        frame.pointee.hd.stream_id,
        UnsafeBufferPointer(start: name, count: nameCount),
        UnsafeBufferPointer(start: value, count: valueCount)
    )
    return goesOn ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
}

private let onFrame: nghttp2_on_frame_recv_callback = { _, frame, user in
    guard let frame, let session = session(user) else { return 0 }
    return session.frame(frame.pointee) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
}

private let onData: nghttp2_on_data_chunk_recv_callback = { _, _, stream, bytes, count, user in
    session(user)?.data(stream, UnsafeBufferPointer(start: bytes, count: count))
    return 0
}

private let onFrameSent: nghttp2_on_frame_send_callback = { _, frame, user in
    if let frame { session(user)?.sent(frame.pointee) }
    return 0
}

private let onStreamClose: nghttp2_on_stream_close_callback = { _, stream, _, user in
    session(user)?.closed(stream)
    return 0
}

private let onRead: nghttp2_data_source_read_callback = {
    (_, _, buffer, count, flags, source, user) in
    guard let flags, let pointer = source?.pointee.ptr else { return 0 }
    let stream = Unmanaged<H2Session.Stream>.fromOpaque(pointer).takeUnretainedValue()
    return stream.read(
        into: UnsafeMutableRawBufferPointer(start: buffer, count: count),
        &flags.pointee,
        of: session(user)
    )
}
