# node loads a native addon, in the main thread and in a worker, with an object that is local to each thread.
#: needs: node g++
#: expect: worker 43 1
cat > addon.cpp <<'CPP'
// The part of Node-API that is used, so that no headers are needed: its ABI is stable.
#include <cstddef>
#include <cstdint>
struct napi_env__; struct napi_value__; struct napi_callback_info__;
typedef napi_env__ *napi_env; typedef napi_value__ *napi_value; typedef napi_callback_info__ *napi_callback_info;
extern "C" {
int napi_create_int32(napi_env, int32_t, napi_value *);
int napi_create_function(napi_env, const char *, size_t, napi_value (*)(napi_env, napi_callback_info), void *, napi_value *);
int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
}
#include <stdexcept>
static thread_local int calls;
static napi_value answer(napi_env env, napi_callback_info) {
    napi_value result;
    try {
        calls++;
        throw std::runtime_error("caught in the addon");
    } catch (const std::exception &) {
        napi_create_int32(env, calls, &result);
    }
    return result;
}
extern "C" napi_value napi_register_module_v1(napi_env env, napi_value exports) {
    napi_value function;
    napi_create_function(env, "answer", SIZE_MAX, answer, nullptr, &function);
    napi_set_named_property(env, exports, "answer", function);
    return exports;
}
CPP
g++ -shared -fPIC -o addon.node addon.cpp
cat > main.js <<'JS'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const addon = require('./addon.node');
if (isMainThread) {
    addon.answer();
    console.log('main', addon.answer());
    new Worker(__filename).on('message', (m) => console.log('worker', ...m));
} else {
    parentPort.postMessage([43, addon.answer()]);
}
JS
/usr/bin/node main.js
