import FoundationEssentials
import Glibc

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
        guard string.utf8.contains(where: needsEscape) else {
            text += string.utf8
            text.append(UInt8(ascii: "\""))
            return
        }
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

    private static func needsEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    /// Appends one event as an object; bytes that are no UTF-8 go as Base64 under another name.
    package static func appendEvent(
        topic: String,
        offset: UInt64,
        time: UInt64,
        key: (some Collection<UInt8>)?,
        headers: some Collection<(name: String, value: String)>,
        payload: some Collection<UInt8>,
        to text: inout [UInt8]
    ) {
        text += Array("{\"topic\":".utf8)
        append(topic, to: &text)
        text += Array(",\"offset\":\(offset),\"time\":\"".utf8)
        text += Array(UTC.text(microseconds: time).utf8)
        text.append(UInt8(ascii: "\""))
        if let key { member("key", key, to: &text) }
        if !headers.isEmpty {
            text += Array(",\"headers\":{".utf8)
            for (index, header) in headers.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                append(header.name, to: &text)
                text.append(UInt8(ascii: ":"))
                append(header.value, to: &text)
            }
            text.append(UInt8(ascii: "}"))
        }
        member("payload", payload, to: &text)
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
