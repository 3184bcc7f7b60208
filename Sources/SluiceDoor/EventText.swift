import ArgumentParser
import FoundationEssentials
import Glibc
package import Sluice

/// What `--format` makes of an event.
///
/// `%t` topic, `%o` offset, `%k` key, `%s` payload, `%h` headers, `%T` time, `%n` newline,
/// `%%` a percent sign; `\n`, `\t`, `\0` and `\\` as in C.
package struct EventFormat: Sendable, Equatable {
    package enum Part: Sendable, Equatable {
        case text([UInt8])
        case topic
        case offset
        case key
        case payload
        case headers
        case time
    }

    package let parts: [Part]

    package init(_ format: String) throws(Failure) {
        var parts: [Part] = []
        var text: [UInt8] = []
        func end() {
            if !text.isEmpty { parts.append(.text(text)) }
            text = []
        }
        var rest = format.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "%" || scalar == "\\" else {
                text += Array(String(scalar).utf8)
                continue
            }
            let name = rest.popFirst()
            if let byte = Self.byte(after: scalar, name) {
                text.append(byte)
                continue
            }
            guard scalar == "%", let part = Self.part(name) else {
                let token = "\(scalar)" + (name.map { "\($0)" } ?? "")
                throw Failure(
                    .usage,
                    "--format does not know '\(token)'",
                    hint: "tokens are %t %o %k %s %h %T %n %% \\n \\t \\0 \\\\"
                )
            }
            end()
            parts.append(part)
        }
        end()
        self.parts = parts
    }

    fileprivate static func byte(after scalar: Unicode.Scalar, _ name: Unicode.Scalar?) -> UInt8? {
        switch (scalar, name) {
        case ("%", "n"), ("\\", "n"): UInt8(ascii: "\n")
        case ("\\", "t"): UInt8(ascii: "\t")
        case ("\\", "0"): 0
        case ("\\", "\\"): UInt8(ascii: "\\")
        case ("%", "%"): UInt8(ascii: "%")
        default: nil
        }
    }

    private static func part(_ name: Unicode.Scalar?) -> Part? {
        switch name {
        case "t": .topic
        case "o": .offset
        case "k": .key
        case "s": .payload
        case "h": .headers
        case "T": .time
        default: nil
        }
    }

    func write(_ event: Event, topic: String, to output: StandardOutput) throws(Failure) {
        for part in parts {
            switch part {
            case .text(let bytes): try output.write(bytes)
            case .topic: try output.write(topic)
            case .offset: try output.write(String(event.offset))
            case .key:
                if let key = event.key { try output.write(key) }
            case .payload: try output.write(event.payload)
            case .headers: try output.write(event.headersText)
            case .time: try output.write(UTC.text(microseconds: event.time))
            }
        }
    }
}

/// What stands between the key and the payload of an event that comes as text; `\n`, `\t`, `\0`
/// and `\\` as in C.
package struct Separator: Hashable, Sendable, ExpressibleByArgument {
    package let bytes: [UInt8]

    package init?(argument: String) {
        var bytes: [UInt8] = []
        var rest = argument.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "\\" else {
                bytes += Array(String(scalar).utf8)
                continue
            }
            guard let byte = EventFormat.byte(after: scalar, rest.popFirst()) else { return nil }
            bytes.append(byte)
        }
        guard !bytes.isEmpty else { return nil }
        self.bytes = bytes
    }
}

extension Event {
    /// The headers as `name=value`, with commas between them.
    fileprivate var headersText: String {
        headers.map { "\($0.name)=\(String(decoding: $0.value, as: UTF8.self))" }
            .joined(separator: ",")
    }
}

/// Points in time as text.
package enum UTC {
    /// As in `2026-11-22T21:30:00.123456Z`.
    package static func text(microseconds: UInt64) -> String {
        var seconds = time_t(microseconds / 1_000_000)
        var parts = tm()
        guard gmtime_r(&seconds, &parts) != nil else { return "\(microseconds)" }
        let date =
            "\(pad(Int(parts.tm_year) + 1_900, 4))-\(pad(Int(parts.tm_mon) + 1, 2))"
            + "-\(pad(Int(parts.tm_mday), 2))"
        return "\(date)T\(clock(parts)).\(pad(Int(microseconds % 1_000_000), 6))Z"
    }

    /// The time of day to the millisecond, as in `21:30:00.123`.
    package static func timeOfDay(microseconds: UInt64) -> String {
        var seconds = time_t(microseconds / 1_000_000)
        var parts = tm()
        guard gmtime_r(&seconds, &parts) != nil else { return "\(microseconds)" }
        return "\(clock(parts)).\(pad(Int(microseconds % 1_000_000 / 1_000), 3))"
    }

    private static func clock(_ parts: tm) -> String {
        "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2))"
    }

    private static func pad(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// JSON written straight into bytes: an event costs no tree of values.
package enum JSONText {
    /// Appends `bytes` as a string if they are UTF-8, and says whether they are.
    package static func appendString(
        _ bytes: some Collection<UInt8>,
        to text: inout [UInt8]
    ) -> Bool {
        guard let string = String(validating: bytes, as: UTF8.self) else { return false }
        append(string, to: &text)
        return true
    }

    package static func append(_ string: String, to text: inout [UInt8]) {
        text.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""): text += Array("\\\"".utf8)
            case UInt8(ascii: "\\"): text += Array("\\\\".utf8)
            case UInt8(ascii: "\n"): text += Array("\\n".utf8)
            case UInt8(ascii: "\r"): text += Array("\\r".utf8)
            case UInt8(ascii: "\t"): text += Array("\\t".utf8)
            case ..<0x20, 0x7F:
                let digits = Array("0123456789abcdef".utf8)
                text += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: text.append(byte)
            }
        }
        text.append(UInt8(ascii: "\""))
    }

    /// Appends one event as an object; bytes that are no UTF-8 go as Base64 under another name.
    package static func append(_ event: Event, topic: String, to text: inout [UInt8]) {
        text += Array("{\"topic\":".utf8)
        append(topic, to: &text)
        text += Array(",\"offset\":\(event.offset),\"time\":\"".utf8)
        text += Array(UTC.text(microseconds: event.time).utf8)
        text.append(UInt8(ascii: "\""))
        if let key = event.key { member("key", key, to: &text) }
        let headers = event.headers
        if !headers.isEmpty {
            text += Array(",\"headers\":{".utf8)
            for (index, header) in headers.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                append(header.name, to: &text)
                text.append(UInt8(ascii: ":"))
                append(String(decoding: header.value, as: UTF8.self), to: &text)
            }
            text.append(UInt8(ascii: "}"))
        }
        member("payload", event.payload, to: &text)
        text.append(UInt8(ascii: "}"))
    }

    private static func member(
        _ name: String,
        _ bytes: some Collection<UInt8>,
        to text: inout [UInt8]
    ) {
        text += Array(",\"\(name)\":".utf8)
        guard !appendString(bytes, to: &text) else { return }
        text.removeLast(2)
        text += Array("Base64\":\"".utf8)
        text += Array(Data(bytes).base64EncodedString().utf8)
        text.append(UInt8(ascii: "\""))
    }
}
