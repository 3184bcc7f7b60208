import ArgumentParser
import FoundationEssentials
import Glibc
package import Sluice
package import SluiceEngine

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

extension JSONText {
    /// Appends one event as an object.
    package static func append(_ event: Event, topic: String, to text: inout [UInt8]) {
        appendEvent(
            topic: topic,
            offset: event.offset,
            time: event.time,
            key: event.key,
            headers: event.headers.map {
                (name: $0.name, value: String(decoding: $0.value, as: UTF8.self))
            },
            payload: event.payload,
            to: &text
        )
    }
}
