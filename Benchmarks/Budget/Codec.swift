import SluiceCore
import SluiceWire

extension Scenario {
    static let codec = [
        Scenario("decode-events-16", per: "event", 1_048_576) { count in
            decode(eventsFrame(of: 3_276, size: 16), count / 3_276)
        },
        Scenario("decode-events-128", per: "event", 524_288) { count in
            decode(eventsFrame(of: 496, size: 128), count / 496)
        },
        Scenario("decode-events-keyed", per: "event", 65_536) { count in
            decode(eventsFrame(of: 256, size: 128, isKeyed: true), count / 256)
        },
        Scenario("decode-event", per: "frame", 65_536) { count in
            decode(eventsFrame(of: 1, size: 128), count)
        },
        Scenario("decode-hello", per: "frame", 32_768) { count in
            decode(frame { $0.append(named) }, count)
        },
        Scenario("decode-open", per: "frame", 32_768) { count in
            decode(frame { $0.append(sinkOpen, link: 1) }, count)
        },
        Scenario("decode-demand", per: "frame", 131_072) { count in
            decode(frame { $0.append(Ask(events: 10, total: 20), link: 1) }, count)
        },
        Scenario("decode-status", per: "frame", 131_072) { count in
            decode(frame { $0.append(Status(), link: 1) }, count)
        },
        Scenario("encode-events", per: "frame", 131_072) { count in
            encode(count) { writer in
                writer.appendEventsHead(link: 1, firstSequence: 1, runs: 1, recordBytes: 65_472)
                writer.appendRunHead(RunHeader(count: 496, length: 65_472))
            }
        },
        Scenario("encode-demand", per: "frame", 131_072) { count in
            encode(count) { $0.append(Ask(events: 10, total: 20), link: 1) }
        },
        Scenario("encode-settle", per: "frame", 131_072) { count in
            let settlement = Settlement(from: 1, count: 100)
            encode(count) { $0.append(settlement, link: 1) }
        },
        Scenario("encode-status", per: "frame", 131_072) { count in
            let status = Status()
            encode(count) { $0.append(status, link: 1) }
        },
        Scenario("encode-record", per: "event", 131_072) { count in
            encode(count) { $0.appendLegal(payload: record) }
        },
        Scenario("encode-record-keyed", per: "event", 65_536) { count in
            encode(count) { $0.appendLegal(key: key, headers: headers, payload: record) }
        },
    ]

    private static let record = [UInt8](repeating: 0x78, count: 128)
    private static let key = Array("customer-4711".utf8)
    private static let headers = [
        RecordHeader(name: "content-type", value: Array("application/json".utf8)),
        RecordHeader(name: "trace", value: Array("0123456789abcdef".utf8)),
    ]

    private static let named: Hello = {
        var hello = Hello()
        hello.name = "budget"
        return hello
    }()

    private static let sinkOpen: Open = {
        var open = Open(role: .sink, topic: "orders.created")
        open.group = "billing"
        open.demandEvents = 1_000
        open.name = "budget"
        return open
    }()

    private static func frame(_ write: (inout FrameWriter) -> Void) -> [UInt8] {
        var writer = FrameWriter()
        write(&writer)
        return writer.take()
    }

    /// An EVENTS of one run of equal records.
    static func eventsFrame(of count: Int, size: Int, isKeyed: Bool = false) -> [UInt8] {
        let payload = [UInt8](repeating: 0x78, count: size)
        let records = frame { writer in
            for _ in 0..<count {
                writer.appendLegal(
                    key: isKeyed ? key : nil,
                    headers: isKeyed ? headers : [],
                    payload: payload
                )
            }
        }
        return frame { writer in
            writer.appendEventsHead(
                link: 1,
                firstSequence: 1,
                runs: 1,
                recordBytes: records.count
            )
            writer.appendRunHead(RunHeader(count: UInt32(count), length: UInt32(records.count)))
            writer.append(records: records.span.bytes)
        }
    }

    @inline(never)
    private static func decode(_ bytes: [UInt8], _ count: Int) {
        for _ in 0..<count {
            do throws(WireError) {
                try decode(bytes)
            } catch { preconditionFailure("the frame is legal") }
        }
    }

    private static func decode(_ bytes: [UInt8]) throws(WireError) {
        let span = bytes.span.bytes
        guard let header = FrameHeader.decode(from: span, at: 0) else { return }
        let body = FrameHeader.byteCount..<bytes.count
        let frame = try Frame.decode(header, body: span, in: body)
        if case .ignorable = frame { preconditionFailure("the frame is known") }
    }

    @inline(never)
    private static func encode(_ count: Int, _ write: (inout FrameWriter) -> Void) {
        var writer = FrameWriter()
        for index in 0..<count {
            write(&writer)
            if index % 64 == 63 { writer.removeAll() }
        }
    }
}
