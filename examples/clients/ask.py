from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:4000/v1", api_key="none")
stream = client.chat.completions.create(
    model="default",
    messages=[{"role": "user", "content": "Hello"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
