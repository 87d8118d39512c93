--- No answer of more than so many tokens.
return function(policy, most)
  return function(req)
    local asked = req.body.max_tokens
    if type(asked) ~= "number" or asked > most then req.body.max_tokens = most end
    return policy(req)
  end
end
