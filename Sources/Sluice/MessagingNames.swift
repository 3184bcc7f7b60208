import Tracing

/// Names of OpenTelemetry's semantic conventions for messaging, of version 1.45.0.
///
/// They are in development there, and may change; here they stand once.
enum MessagingNames {
    static let system = "messaging.system"
    static let destination = "messaging.destination.name"
    static let operationName = "messaging.operation.name"
    static let operationType = "messaging.operation.type"
    static let group = "messaging.consumer.group.name"
    static let client = "messaging.client.id"
    static let batchCount = "messaging.batch.message_count"
    static let errorType = "error.type"

    /// What is done with events: the name of the operation is that of its type.
    enum Operation: String {
        case send
        case receive
        case process

        var kind: SpanKind { self == .send ? .producer : .consumer }

        func spanName(_ topic: String) -> String { "\(rawValue) \(topic)" }
    }
}
