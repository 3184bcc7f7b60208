import Glibc
package import Logging
import SluiceEngine
import SluiceNet
import Synchronization

/// Logs to standard error, one line an entry: words for people, or fields for programs.
package struct LineLog: LogHandler {
    package enum Style: Sendable, Equatable {
        case text(isColoured: Bool)
        case json
        case logfmt
    }

    package let style: Style
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]

    package init(style: Style, logLevel: Logger.Level) {
        self.style = style
        self.logLevel = logLevel
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let fields = metadata.merging(event.metadata ?? [:]) { $1 }
            .map { ($0.key, $0.value.description) }
            .sorted { $0.0 < $1.0 }
        let line = line(
            level: event.level,
            message: event.message.description,
            fields: fields,
            time: HostProcess.wallMicroseconds
        )
        // One write a line, so that the lines of several threads do not run into each other.
        Notice.line(line)
    }

    package func line(
        level: Logger.Level,
        message: String,
        fields: [(String, String)],
        time: UInt64
    ) -> String {
        switch style {
        case .text(let isColoured):
            return text(level, message, fields, time, Paint(isOn: isColoured))
        case .json:
            var bytes = Array("{\"time\":\"\(UTC.text(microseconds: time))\"".utf8)
            bytes += Array(",\"level\":\"\(level.rawValue)\",\"message\":".utf8)
            JSONText.append(message, to: &bytes)
            for (name, value) in fields {
                bytes.append(UInt8(ascii: ","))
                JSONText.append(name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                JSONText.append(value, to: &bytes)
            }
            return String(decoding: bytes, as: UTF8.self) + "}"
        case .logfmt:
            return "time=\(UTC.text(microseconds: time)) level=\(level.rawValue)"
                + " message=\(Self.quoted(message))"
                + fields.map { " \($0.0)=\(Self.quoted($0.1))" }.joined()
        }
    }

    private func text(
        _ level: Logger.Level,
        _ message: String,
        _ fields: [(String, String)],
        _ time: UInt64,
        _ paint: Paint
    ) -> String {
        let word =
            switch level {
            case .trace, .debug: paint.dim(level.rawValue)
            case .info, .notice: paint.green(level.rawValue)
            case .warning: paint.yellow(level.rawValue)
            case .error, .critical: paint.red(level.rawValue)
            }
        let tail = fields.map { " \($0.0)=\(Self.quoted($0.1))" }.joined()
        return "\(paint.dim(UTC.timeOfDay(microseconds: time))) \(word) \(message)"
            + paint.dim(tail)
    }

    private static func quoted(_ value: String) -> String {
        let isPlain = value.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3D }
        guard !isPlain || value.isEmpty else { return value }
        var bytes: [UInt8] = []
        JSONText.append(value, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Whether colours are wanted at all.
enum Colours {
    static func areWanted(_ noColor: Bool) -> Bool {
        !noColor && getenv("NO_COLOR") == nil && getenv("TERM").map { strcmp($0, "dumb") } != 0
    }
}
