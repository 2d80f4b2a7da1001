// A server on uWebSockets that does what the others are asked for: whoever asks for ?topic=T subscribes to it, and a publish goes to all
// who did, in the frames that Fanfare speaks.
#include "App.h"

#include <cstdlib>
#include <iostream>
#include <string>

struct Session {
    std::string topic;
};

int main(int count, char **arguments) {
    if (count != 2) {
        std::cerr << "usage: uws PORT" << std::endl;
        return 2;
    }
    uWS::App app;
    app.ws<Session>("/ws", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 1024 * 1024,
        .idleTimeout = 0,
        .maxBackpressure = 256 * 1024 * 1024,
        .sendPingsAutomatically = false,
        .upgrade = [](auto *response, auto *request, auto *context) {
            response->template upgrade<Session>(
                {std::string(request->getQuery("topic"))},
                request->getHeader("sec-websocket-key"),
                request->getHeader("sec-websocket-protocol"),
                request->getHeader("sec-websocket-extensions"),
                context);
        },
        .open = [](auto *socket) {
            const std::string &topic = socket->getUserData()->topic;
            if (!topic.empty()) {
                socket->subscribe(topic);
            }
        },
        .message = [&app](auto *, std::string_view message, uWS::OpCode) {
            // {"type":"publish","topic":"T","data":"D"}
            constexpr std::string_view before = R"({"type":"publish","topic":")";
            constexpr std::string_view between = R"(","data":")";
            const size_t end = message.find('"', before.size());
            if (!message.starts_with(before) || end == std::string_view::npos) {
                return;
            }
            const std::string_view topic = message.substr(before.size(), end - before.size());
            const std::string_view rest = message.substr(end + between.size());
            const std::string_view data = rest.substr(0, rest.size() - 2);
            std::string frame;
            frame.reserve(data.size() + topic.size() + 80);
            frame.append(R"({"type":"message","topic":")").append(topic).append(between);
            frame.append(data).append(R"(","time":1700000000000})");
            app.publish(topic, frame, uWS::OpCode::TEXT);
        },
    });
    app.listen("127.0.0.1", std::atoi(arguments[1]), [](auto *listening) {
        if (!listening) {
            std::exit(1);
        }
    });
    app.run();
}
