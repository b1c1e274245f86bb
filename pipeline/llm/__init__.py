"""Language models: one protocol, several backends, and what stands between them and a budget.

base             the protocol
openai_server    any OpenAI-compatible server
vllm_engine      vLLM in this process; vllm_api is what we use of it, children its processes
local            a GGUF model on this machine
grammar          no model: captions from a grammar
scripted         a fake for trying a set-up; scripted_server is the same behind HTTP,
                 scripted_batches (with _files, _lines) its Batch API
weights          a GGUF file; model_folder is the same for a folder of weights
select           from the names on the command line to a backend
dispatch         answers in plan order, from the ledger (lookup) or the backend
retry, prices    attempts that are made again, and what they cost
"""
